"""A connector's status and what it knows of assets, told regularly and when something changes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from app.shells.connector_runner import known
from app.shells.connector_runner.heartbeats import Heartbeats
from app.shells.connector_runner.landing import Landing
from app.shells.connector_runner.stats import ConnectorStats
from app.shells.connector_runner.status import HEADERS, ConnectorStatus, StatusState, encode
from connectors.base import Connector
from models.time import NS_PER_S

_STATES: dict[str, StatusState] = {
    "connected": "connected", "starting": "disconnected", "disconnected": "disconnected",
    "refused": "disconnected", "stopped": "stopped",
}  # fmt: skip


class Telling:
    """Tells of one session of a connector."""

    def __init__(
        self,
        connector: Connector[Any],
        session: str,
        topic: str,
        interval: int,
        stats: ConnectorStats,
        heartbeats: Heartbeats,
        landing: Landing,
        pages: int,
    ) -> None:
        """``interval`` in ns; ``pages``: how many there are of an earlier session."""
        self._kind, self._name = connector.kind, connector.environment.name
        self._session, self._topic, self._interval = session, topic, interval
        self._stats, self._heartbeats, self._landing = stats, heartbeats, landing
        self._pages = known.Pages(self._name, interval, pages)

    async def for_ever(self) -> None:
        """The status every interval, and the assets as often as their number allows."""
        while True:
            self.status()
            self._assets()
            await asyncio.sleep(self._interval / NS_PER_S)

    def status(self) -> None:
        """The status as it is now."""
        assets = self._heartbeats.known()
        status = ConnectorStatus(
            name=self._name,
            kind=self._kind,
            session=self._session,
            topic=self._topic,
            assets=tuple(sorted(each.asset for each in assets)),
            known=len(assets),
            state=_STATES[self._stats.state],
            interval=self._interval,
            t=time.time_ns(),
            reason=self._stats.why_not_ready,
            problems=self._stats.problems,
        )
        self._landing.say(self._name, encode(status), HEADERS)

    def last_words(self) -> None:
        """That it ended in order, and when it heard each asset last."""
        self._landing.finish_sayings()
        self._assets(at_once=True)
        self.status()

    def _assets(self, *, at_once: bool = False) -> None:
        assets, now = self._heartbeats.known(), time.monotonic_ns()
        for key, value in self._pages.changed(assets, now, at_once=at_once):
            self._landing.say(key, value, known.HEADERS)
