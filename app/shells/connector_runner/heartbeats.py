"""Says when an asset has been silent for too long, and what to tell of it. Pure: no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from models.records.heartbeat import Heartbeat, State
from models.time import NS_PER_S

#: A longer name is no asset's (the catalogue takes none), but somebody's who fills our memory.
LONGEST_NAME = 512
#: An alive heartbeat is at most this far ahead of receive time, or of the asset's own last time.
_AHEAD = 300 * NS_PER_S


class Known(NamedTuple):
    """An asset, and event and receive time of what was last heard of it, ns; None: nothing."""

    asset: str
    t: int | None
    received: int | None


@dataclass(slots=True)
class _Asset:
    #: Event and receive time of the last message, ns; None: nothing was heard.
    t: int | None
    received: int
    #: Receive time of the last message or heartbeat.
    told: int


class Heartbeats:
    """The assets of one connector. Times are ns since 1970.

    What is expected by configuration is always known. What is only heard (names come from the
    source: topics, for example) is known up to ``limit`` assets in all.
    """

    def __init__(self, interval: int, limit: int = 10_000) -> None:
        self._interval = interval
        self._limit = limit
        self._assets: dict[str, _Asset] = {}

    def heard(self, asset: str, t: int, received: int) -> bool:
        """A message of an asset was read. False: it is one too many, and gets no heartbeats."""
        known = self._assets.get(asset)
        if known is not None:
            known.t, known.received, known.told = t, received, received
            return True
        if len(self._assets) >= self._limit or len(asset) > LONGEST_NAME:
            return False
        self._assets[asset] = _Asset(t, received, received)
        return True

    def expect(self, assets: Iterable[str], now: int) -> None:
        """Assets that should be heard: the first heartbeat comes after an interval."""
        for asset in assets:
            if asset not in self._assets:
                self._assets[asset] = _Asset(None, now, now)

    def restore(self, known: Iterable[Known], now: int) -> None:
        """What was heard before a restart: silence goes on from there. The newest first.

        The first heartbeat comes after an interval: they may well speak before.
        """
        for each in known:
            if each.t is None or each.received is None:
                continue
            mine = self._assets.get(each.asset)
            if mine is None and len(self._assets) < self._limit:
                self._assets[each.asset] = _Asset(each.t, each.received, now)
            elif mine is not None and mine.t is None:
                mine.t, mine.received = each.t, each.received

    def connected(self, now: int) -> None:
        """The way is open again. What a source kept meanwhile comes before any heartbeat."""
        for asset in self._assets.values():
            asset.told = now

    def known(self) -> list[Known]:
        """All assets, in no order."""
        return [
            Known(name, asset.t, None if asset.t is None else asset.received)
            for name, asset in self._assets.items()
            if len(name) <= LONGEST_NAME
        ]

    def due(self, now: int, alive: Callable[[str], bool]) -> list[Heartbeat]:
        """Heartbeats of those silent for an interval. ``alive``: whether their way is open."""
        beats = []
        for name, asset in self._assets.items():
            # a clock that was set back must not silence the heartbeats
            if now - asset.told >= self._interval or now < asset.told:
                beats.append(self._beat(name, asset, now, alive(name)))
        return beats

    def disconnected(self, now: int) -> list[Heartbeat]:
        """The way to all assets is broken: a heartbeat for each, at once."""
        return [self._beat(name, asset, now, False) for name, asset in self._assets.items()]

    def recent(self, now: int) -> int:
        """How many assets were heard within three intervals."""
        since = now - 3 * self._interval
        return sum(
            asset.t is not None and asset.received >= since for asset in self._assets.values()
        )

    def __len__(self) -> int:
        return len(self._assets)

    def _beat(self, name: str, asset: _Asset, now: int, alive: bool) -> Heartbeat:
        asset.told = now
        if asset.t is None:
            return Heartbeat(name, State.DISCONNECTED, now, now, None)
        elapsed = max(0, now - asset.received)
        if not alive:
            return Heartbeat(name, State.DISCONNECTED, asset.t, now, elapsed)
        # the source's own time line goes on, however far in the past it is
        t = min(asset.t + elapsed, max(asset.t, now + _AHEAD))
        return Heartbeat(name, State.ALIVE, t, now, elapsed)
