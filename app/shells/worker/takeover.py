"""Taking partitions over from another version of the topology: state is brought along at once.

Every partition's store says under which declaration its state was written. Where that is not this
worker's, all keys of the partition are upgraded before its first record is processed, in
transactions of their own: what belongs to steps that are gone is deleted from store and changelog,
and no record is ever met by state of another meaning. A worker that dies in between leaves a note
of how far it came, and the next one, of whatever version, goes on from there.

Eager and not at a key's first access: a record costs nothing more for it, keys that never come
again are brought along too, so no old layout has to be known for ever, and a start that cannot go
on fails before it has processed anything.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator

from pydantic import BaseModel, ConfigDict, ValidationError

from app.deploy.gate import IncompatibleStart
from app.shells.worker.state import KeyState, Transaction, Transactions
from models.errors import PlantstreamError
from topologies.core.declaration import Declaration
from topologies.core.topology import Topology
from topologies.core.upgrade import Upgrade

LOG = logging.getLogger("plantstream.worker")

#: Where the note lies in a store: no record's key begins with a control character.
NOTE = b"\x00declaration"
#: Bytes written in one transaction, which must end within ``worker.transaction_timeout``.
_BATCH = 8 << 20
_SEPARATOR = b"|"

Place = tuple[str, int]
#: All names in the store of a (topic, partition): ``<key>|<step>/<name>``.
Names = Callable[[str, int], Iterator[bytes]]


class Note(BaseModel):
    """Under which declaration a partition's state was written."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    declaration: Declaration
    #: While it is being upgraded: to what, and the last key (hex) that has been.
    to: Declaration | None = None
    after: str = ""


class Takeover:
    """What one run of a worker does with the partitions it is given."""

    def __init__(
        self,
        topology: Topology,
        accepted: Iterable[str],
        *,
        transaction: Transactions,
        names: Names,
        commit: Callable[[], None],
    ) -> None:
        """``accepted``: steps that may begin anew where their state is not fit."""
        self._topology, self._accepted = topology, frozenset(accepted)
        self._own = Declaration.of(topology)
        self._transaction, self._names, self._commit = transaction, names, commit
        #: Partitions whose state nobody has looked at since they were assigned.
        self.fresh: list[Place] = []
        #: Those whose note is to be written with their next state.
        self._unsigned: set[Place] = set()

    def assigned(self, places: Iterable[Place]) -> None:
        """These partitions, and no others, are this worker's now."""
        self.fresh = list(places)
        self._unsigned.clear()

    def forget(self) -> None:
        """No partition is this worker's."""
        self.assigned(())

    def run(self) -> None:
        """Bring the state of fresh partitions along. Raises IncompatibleStart."""
        while self.fresh:
            self._take(self.fresh[0])
            self.fresh.pop(0)

    def sign(self, changed: Iterable[KeyState]) -> None:
        """Write the notes of partitions whose state is about to be written for the first time."""
        if not self._unsigned:
            return
        for place in {(key.topic, key.partition) for key in changed} & self._unsigned:
            self._write(place, Note(declaration=self._own))
            self._unsigned.discard(place)

    def _take(self, place: Place) -> None:
        data = self._transaction(*place).get_bytes(NOTE, b"")
        if data is None:  # nothing was ever kept
            self._unsigned.add(place)
            return
        note = _note(place, data)
        if note.to is None and note.declaration == self._own:
            return
        upgrades = [Upgrade(note.declaration, self._topology)]
        if note.to is not None:
            upgrades.append(Upgrade(note.to, self._topology))
        for upgrade in upgrades:
            self._check(place, note, upgrade)
        if all(upgrade.idle for upgrade in upgrades):
            self._unsigned.add(place)
            return
        self._bring(place, note, upgrades)

    def _check(self, place: Place, note: Note, upgrade: Upgrade) -> None:
        lost = [s for s in upgrade.verdict.lost if s.name not in self._accepted]
        if lost:
            name = self._topology.name
            reasons = "; ".join(f"step {s.name} ({s.outcome}): {s.why}" for s in lost)
            raise IncompatibleStart(
                f"{place[0]}[{place[1]}] holds state of version {note.declaration.version} of"
                f" {name}, which this worker cannot take over: {reasons}. If newer workers run,"
                f" stop this one; see 'plantstream check {name}'"
            )

    def _bring(self, place: Place, note: Note, upgrades: list[Upgrade]) -> None:
        begun, written = time.monotonic(), 0
        names = self._by_key(place, upgrades)
        keys = sorted(names)
        cut = bisect_right(keys, bytes.fromhex(note.after)) if note.to is not None else 0
        todo = [(upgrades[0], key) for key in keys[cut:]]
        mine = note.to is None or note.to == self._own
        if not mine:  # another version was at it: what it had done is under its declaration
            todo += [(upgrades[1], key) for key in keys[:cut]]
        for upgrade, key in todo:
            written += self._change(place, upgrade, key, names[key])
            if written >= _BATCH and mine:
                so_far = Note(declaration=note.declaration, to=self._own, after=key.hex())
                self._write(place, so_far)
                self._commit()
                written = 0
        self._write(place, Note(declaration=self._own))
        self._commit()
        refused = sum(sum(upgrade.refused.values()) for upgrade in upgrades)
        LOG.info(
            "worker %s: state of %s[%d] brought along from version %d: %d keys, %d that could not"
            " be migrated, in %.1f s (%s)",
            self._own.topology,
            *place,
            note.declaration.version,
            len(todo),
            refused,
            time.monotonic() - begun,
            ", ".join(
                f"{step.name} {step.outcome}"
                for step in upgrades[0].verdict.steps
                if step.name in upgrades[0].touched
            ),
        )

    def _change(self, place: Place, upgrade: Upgrade, key: bytes, names: list[bytes]) -> int:
        """Upgrade one key; bytes written."""
        transaction = self._transaction(*place)
        values = {}
        for name in names:
            value = transaction.get_bytes(name, key)
            if value is not None:
                values[name.decode()] = value
        written = 0
        for changed, new in upgrade(values).items():
            if new is None:
                transaction.delete(changed.encode(), key)
            else:
                transaction.set_bytes(changed.encode(), new, key)
                written += len(new)
            written += len(key) + len(changed)
        return written

    def _by_key(self, place: Place, upgrades: list[Upgrade]) -> dict[bytes, list[bytes]]:
        """Names of what is kept by the steps that are touched, by key."""
        transaction = self._transaction(*place)
        touched = {name.encode() for upgrade in upgrades for name in upgrade.touched}
        known = touched | {s.name.encode() for u in upgrades for s in u.verdict.steps} | {b"time"}
        found: dict[bytes, list[bytes]] = {}
        for stored in self._names(*place):
            cuts = _cuts(stored, known)
            if len(cuts) > 1:  # a key or a tag that looks like a name: the key is one that exists
                cuts = [at for at in cuts if _exists(transaction, stored[:at])] or cuts
            if cuts and stored[cuts[-1] + 1 :].partition(b"/")[0] in touched:
                found.setdefault(stored[: cuts[-1]], []).append(stored[cuts[-1] + 1 :])
        return found

    def _write(self, place: Place, note: Note) -> None:
        self._transaction(*place).set_bytes(NOTE, note.model_dump_json().encode(), b"")


def _cuts(stored: bytes, steps: set[bytes]) -> list[int]:
    """Where in ``<key>|<step>/<name>`` the key may end, for any of the steps."""
    found, at = [], stored.find(_SEPARATOR)
    while at >= 0:
        end = stored.find(b"/", at)
        if end > 0 and stored[at + 1 : end] in steps:
            found.append(at)
        at = stored.find(_SEPARATOR, at + 1)
    return found


def _exists(transaction: Transaction, key: bytes) -> bool:
    """Whether something is known of the key's time, as of every key that has state."""
    return transaction.get_bytes(b"time/", key) is not None


def _note(place: Place, data: bytes) -> Note:
    try:
        return Note.model_validate_json(data)
    except ValidationError as error:
        raise PlantstreamError(
            f"{place[0]}[{place[1]}]: the note of what wrote its state cannot be read:"
            f" {error.errors()[0]['msg']}; was it written by newer code?"
        ) from error
