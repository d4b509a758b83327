"""Health: whether a process lives and is ready, and why not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

#: Says why a condition does not hold; None where it does.
Check = Callable[[], str | None]


class Health:
    """Named conditions of one process. All must hold for it to be ready.

    ``set`` is for events (connected, lost), ``check`` for what is looked at when asked. A
    condition marked ``live`` that fails says more: the process should be started anew. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, str | None] = {}
        self._checks: dict[str, Check] = {}
        self._live: set[str] = set()

    def set(self, name: str, ok: bool, reason: str = "", *, live: bool = False) -> None:
        """A condition holds, or does not for a reason."""
        with self._lock:
            self._states[name] = None if ok else reason or "not yet"
            (self._live.add if live else self._live.discard)(name)

    def check(self, name: str, check: Check, *, live: bool = False) -> None:
        """Ask ``check`` whenever somebody wants to know. It must be quick."""
        with self._lock:
            self._checks[name] = check
            (self._live.add if live else self._live.discard)(name)

    def forget(self, name: str) -> None:
        """A condition that no longer counts."""
        with self._lock:
            self._states.pop(name, None)
            self._checks.pop(name, None)
            self._live.discard(name)

    def problems(self) -> dict[str, str]:
        """The conditions that do not hold, with the reason."""
        return {name: reason for name, reason in self._all().items() if reason is not None}

    @property
    def ready(self) -> bool:
        """Whether all conditions hold."""
        return not self.problems()

    @property
    def live(self) -> bool:
        """Whether all conditions of life hold."""
        return not (self.problems().keys() & self._live)

    def report(self) -> dict[str, Any]:
        """What /ready answers."""
        states = self._all()
        return {
            "ready": all(reason is None for reason in states.values()),
            "conditions": {
                name: {"ok": reason is None, "reason": reason or ""}
                for name, reason in sorted(states.items())
            },
        }

    def _all(self) -> dict[str, str | None]:
        with self._lock:
            states, checks = dict(self._states), list(self._checks.items())
        for name, check in checks:
            try:
                states[name] = check()
            except Exception as error:
                states[name] = f"the check failed: {type(error).__name__}: {error}"
        return states
