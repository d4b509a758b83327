"""Child processes that never outlive their parent: the guard, and the supervisor over it."""

from app.processes.child import ChildError, GuardedChild
from app.processes.signals import StopRequestedError, stop_on_signals
from app.processes.supervisor import Command, Event, NotReadyError, Supervisor, SupervisorError

__all__ = [
    "ChildError",
    "Command",
    "Event",
    "GuardedChild",
    "NotReadyError",
    "StopRequestedError",
    "Supervisor",
    "SupervisorError",
    "stop_on_signals",
]
