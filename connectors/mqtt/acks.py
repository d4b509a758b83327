"""Acknowledgements in the order in which messages came (MQTT 3.1.1, 4.6: MQTT-4.6.0-2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Receipt:
    """One message that waits for its acknowledgement."""

    __slots__ = ("done", "mid", "qos", "window")

    def __init__(self, window: AckWindow, mid: int, qos: int) -> None:
        self.window, self.mid, self.qos, self.done = window, mid, qos, False


class AckWindow:
    """The unacknowledged messages of one connection, oldest first. One thread at a time."""

    def __init__(self, send: Callable[[int, int], object]) -> None:
        self._send = send
        self._waiting: deque[Receipt] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, mid: int, qos: int) -> Receipt:
        """A message came; its acknowledgement is sent once it and all before it are done."""
        receipt = Receipt(self, mid, qos)
        self._waiting.append(receipt)
        return receipt

    def done(self, receipt: Receipt) -> None:
        """A message is safe. Without effect once the connection is over: a message id means
        nothing on the next one, where the broker sends the message again."""
        receipt.done = True
        if self._closed or receipt.window is not self:
            return
        while self._waiting and self._waiting[0].done:
            first = self._waiting.popleft()
            self._send(first.mid, first.qos)

    def close(self) -> None:
        """The connection is over."""
        self._closed = True
        self._waiting.clear()
