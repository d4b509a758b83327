"""Being asked to stop: by an error where something is held, by an event where a loop runs."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequestedError(KeyboardInterrupt):
    """Somebody asked this process to stop; ``number`` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that ended by this signal: 128 + number."""
        return 128 + self.number


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Inside, SIGINT, SIGTERM and SIGHUP raise `StopRequestedError` in the main thread.

    So that ``with stop_on_signals(), EmbeddedStack(...)`` stops its children in order however it
    is asked to end. While one such error is handled, a second signal raises again: a stop that
    takes too long is cut short, and the guards end what is left. Main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("signals can be handled in the main thread only")

    def on_signal(number: int, _: object) -> None:
        raise StopRequestedError(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def set_in_handler(stop: threading.Event) -> None:
    """Set an event from a signal's handler.

    The handler may have come between any two steps of the main thread, which may hold the event's
    own lock: waiting for it, or in another handler. So another thread sets it.
    """
    _thread.start_new_thread(stop.set, ())


@contextmanager
def set_on_signals(stop: threading.Event) -> Iterator[None]:
    """Inside, SIGTERM and SIGINT set ``stop``; a second SIGINT interrupts at once.

    For loops that end by themselves when they see it. Elsewhere than in the main thread it does
    nothing: the process that holds the thread takes the signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and stop.is_set():
            raise KeyboardInterrupt
        set_in_handler(stop)

    before = {n: signal.signal(n, handle) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
