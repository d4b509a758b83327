"""State that is given up for keys that have fallen silent.

Only what a key's own records say counts, so that a replay gives up the same at the same record:
the first heartbeat by which its time is more than ``state_ttl`` past its newest data ends what the
step keeps of it, after the step has had that heartbeat (and has closed what time closes). A key
of which not even a heartbeat comes keeps its state: nothing says that time has passed for it.
"""

from __future__ import annotations

from models.time import NEVER
from topologies.core.flow import Flow
from topologies.core.state import Memory
from topologies.core.step import Bound


def expiring(name: str, bound: Bound, ttl: int) -> Bound:
    """The step ``name``, which gives up its state ``ttl`` ns after a key's newest data."""

    def run(flow: Flow, memory: Memory) -> None:
        bound(flow, memory)
        if flow.heartbeat is None or flow.time.data == NEVER:
            return
        if flow.before.now <= flow.time.data + ttl < flow.time.now:
            flow.count(f"expired.{name}", memory.clear())

    return run
