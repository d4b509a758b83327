"""One way to be asked to stop: Ctrl-C, SIGTERM and a closed terminal all raise the same error."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


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
