"""MQTT loggers: publish to a broker at QoS 1, and journal what the broker acknowledged."""

from __future__ import annotations

import asyncio
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from connectors.simulators.config import MqttAsset, MqttSimulator
from connectors.simulators.duration import SECOND
from connectors.simulators.journal import Journal
from connectors.simulators.payloads import Message, messages
from connectors.simulators.player import Row, Speaker

_VERSIONS = {"3.1.1": MQTTProtocolVersion.MQTTv311, "5": MQTTProtocolVersion.MQTTv5}


class MqttSpeaker(Speaker):
    """One connection for all loggers of the simulator. A lost one is made anew and what was not
    acknowledged is sent again, so a broker may see a message twice; the journal holds it once."""

    def __init__(self, simulator: MqttSimulator, journal: Journal, trace_tags: list[str]) -> None:
        super().__init__(journal)
        self._simulator = simulator
        self._assets = {asset.name: asset for asset in simulator.assets}
        trace = simulator.trace
        if trace is not None:
            self._assets.setdefault(trace.asset, MqttAsset(name=trace.asset))
        self._patience = trace.patience if trace else 10 * SECOND
        self._batches: dict[str, list[Row]] = {}
        self._pending: dict[int, Message] = {}
        self._window = asyncio.Semaphore(simulator.window)
        self._idle = asyncio.Event()
        self._idle.set()
        self._connected = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=simulator.client_id or f"plantstream-simulator-{simulator.seed}",
            protocol=_VERSIONS[simulator.version],
        )
        self._client.max_inflight_messages_set(simulator.window)
        self._client.reconnect_delay_set(1, 5)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish

    # paho calls these in its own thread

    def _on_connect(
        self, client: Client, data: Any, flags: ConnectFlags, code: ReasonCode,
        properties: Properties | None,
    ) -> None:  # fmt: skip
        if not code.is_failure:
            self._loop.call_soon_threadsafe(self._connected.set)

    def _on_disconnect(
        self, client: Client, data: Any, flags: DisconnectFlags, code: ReasonCode,
        properties: Properties | None,
    ) -> None:  # fmt: skip
        self._loop.call_soon_threadsafe(self._connected.clear)

    def _on_publish(
        self, client: Client, data: Any, mid: int, code: ReasonCode, properties: Properties | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._acknowledged, mid, not code.is_failure)

    def _acknowledged(self, mid: int, accepted: bool) -> None:
        message = self._pending.pop(mid, None)
        if message is None:
            return
        if accepted:
            for row, t, samples in message.rows:
                self.note(row, t, samples)
        else:
            self.overrun += 1
        self._window.release()
        if not self._pending:
            self._idle.set()

    async def start(self) -> str:
        simulator = self._simulator
        self._client.connect_async(simulator.host, simulator.port, keepalive=30)
        self._client.loop_start()
        await self._connected.wait()
        return f"mqtt://{simulator.host}:{simulator.port}"

    async def send(self, row: Row) -> None:
        asset = self._assets[row.asset]
        batch = self._batches.setdefault(row.asset, [])
        if row.samples:
            batch.append(row)
        if len(batch) >= asset.batch:
            await self._flush(asset)

    async def _flush(self, asset: MqttAsset) -> None:
        rows = self._batches.get(asset.name, [])
        self._batches[asset.name] = []
        for message in messages(asset, rows) if rows else ():
            await self._window.acquire()
            info = self._client.publish(message.topic, message.payload, qos=1)
            # its acknowledgement is handled by this loop, so not before the next await
            self._pending[info.mid] = message
            self._idle.clear()

    async def drain(self) -> None:
        await self._settle(self._patience)

    async def _settle(self, patience: int) -> None:
        for asset in self._assets.values():
            await self._flush(asset)
        try:
            await asyncio.wait_for(self._idle.wait(), patience / SECOND)
        except TimeoutError:
            self.overrun += len(self._pending)

    async def stop(self) -> None:
        if self._connected.is_set():
            await self._settle(min(self._patience, 2 * SECOND))
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)
