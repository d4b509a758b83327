"""MQTT 3.1.1 and 5: payloads verbatim, acknowledged once they are safe.

At QoS 1 nothing is lost: the session is persistent, a message is acknowledged to the broker only
when its record is safe, and what was not acknowledged comes again on the next connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from connectors.base import Connector, Environment, Message, now
from connectors.mqtt.acks import AckWindow, Receipt
from connectors.mqtt.parameters import MqttParameters, Subscription
from connectors.mqtt.patterns import compile_assets, compile_pattern, fixed_asset
from connectors.mqtt.times import event_time
from models.errors import SourceRefused, SourceUnavailable
from models.records.headers import RAW_MQTT, Schema
from models.records.raw import MqttMessage, encode_mqtt

log = logging.getLogger("plantstream.mqtt")

_VERSIONS = {"3.1.1": MQTTProtocolVersion.MQTTv311, "5": MQTTProtocolVersion.MQTTv5}
#: Reason codes that stay until somebody changes something (MQTT 5, 2.4; paho maps 3.1.1's).
_REFUSALS = frozenset({0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x8F, 0x9D, 0x9E, 0xA2})
_NS = 1_000_000_000
#: Most messages that one read returns: the loop's other tasks want their turn.
_READ = 2000
#: Topics whose asset is remembered, and the longest of them: 64 MB at the worst.
_TOPICS = 50_000
_LONGEST_TOPIC = 300
#: How long a broker is given to take our farewell, seconds.
_FAREWELL_S = 0.5


@dataclass(frozen=True, slots=True)
class _Route:
    asset_of: Callable[[str], str | None]
    path: tuple[str, ...]
    format: str


class _Line:
    """One connection: a paho client, its thread, and what came in on it.

    paho calls the ``_on_`` methods in its own thread; the rest runs in the loop's.
    """

    def __init__(self, connector: MqttConnector, wake: Callable[[], None]) -> None:
        parameters = connector.parameters
        self._connector = connector
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._waking = False
        self.incoming: deque[tuple[MQTTMessage, int]] = deque()
        self.lost = ""
        self.overrun = False
        self._stopped = False
        self.connected: asyncio.Future[ConnectFlags] = self._loop.create_future()
        self.subscribed: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        five = parameters.protocol == "5"
        self.client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=connector.environment.client_id,
            protocol=_VERSIONS[parameters.protocol],
            clean_session=None if five else False,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        self.client.suppress_exceptions = True
        self.client.connect_timeout = parameters.connect_timeout / _NS
        self.client.on_socket_open = self._on_socket_open
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = self._on_message
        self.window = AckWindow(self.client.ack)

    async def start(self) -> None:
        parameters = self._connector.parameters
        more: dict[str, Any] = {}
        if parameters.protocol == "5":
            properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = min(parameters.session_expiry // _NS, 2**32 - 1)
            properties.ReceiveMaximum = parameters.receive_maximum
            more = {"clean_start": False, "properties": properties}
        keepalive = max(1, parameters.keepalive // _NS)
        # nobody waits for the attempt once it was given up: not `stop`, and not the process
        await self._in_thread(
            lambda: self.client.connect(parameters.host, parameters.port, keepalive, **more)
        )
        self.client.loop_start()
        flags = await asyncio.wait_for(self.connected, parameters.connect_timeout / _NS)
        self._connector.session_found(flags.session_present)
        await self._subscribe(parameters)

    async def _subscribe(self, parameters: MqttParameters) -> None:
        filters = [subscription.filter for subscription in parameters.subscriptions]
        wanted: list[Any] = [
            (text, SubscribeOptions(qos=parameters.qos) if parameters.protocol == "5" else
             parameters.qos)
            for text in filters
        ]  # fmt: skip
        self.client.subscribe(wanted)
        codes = await asyncio.wait_for(self.subscribed, parameters.connect_timeout / _NS)
        for text, code in zip(filters, codes, strict=False):
            if code.is_failure:
                raise SourceRefused(f"the broker refuses the subscription {text!r}: {code}")
            if code.value < parameters.qos:
                self._connector.counters.error("qos-downgraded")
                log.warning("the broker grants QoS %d only for %r", code.value, text)

    async def stop(self) -> None:
        """End the connection, or the attempt to make one; soon, whatever the broker does."""
        self._stopped = True
        self.client.on_disconnect = None

        def farewell() -> None:
            self.client.disconnect()
            self.client.loop_stop()

        done = self._in_thread(farewell)
        await asyncio.wait([done], timeout=_FAREWELL_S)
        if done.done():
            done.result()
        else:
            _break(self.client.socket())  # paho's thread notices, and ends

    def _in_thread(self, work: Callable[[], object]) -> asyncio.Future[None]:
        """Do something that blocks in a thread that the end of the process does not wait for."""
        done: asyncio.Future[None] = self._loop.create_future()

        def run() -> None:
            try:
                work()
            except Exception as error:
                self._tell(_fail, done, error)
            else:
                self._tell(_resolve, done, None)

        threading.Thread(target=run, name="mqtt", daemon=True).start()
        return done

    def _on_socket_open(self, client: Client, data: Any, opened: Any) -> None:
        """An attempt that succeeds after it was given up must not take the session over."""
        if self._stopped:
            _break(opened)

    def _tell(self, what: Callable[..., Any], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:  # the loop is closed: nobody listens any more
            log.debug("a callback came after the end")

    def _on_connect(
        self, client: Client, data: Any, flags: ConnectFlags, code: ReasonCode,
        properties: Properties | None,
    ) -> None:  # fmt: skip
        if not code.is_failure:
            self._tell(_resolve, self.connected, flags)
            return
        refused = code.value in _REFUSALS
        kind = SourceRefused if refused else SourceUnavailable
        self._tell(_fail, self.connected, kind(f"the broker refuses the connection: {code}"))

    def _on_subscribe(
        self, client: Client, data: Any, mid: int, codes: list[ReasonCode],
        properties: Properties | None,
    ) -> None:  # fmt: skip
        self._tell(_resolve, self.subscribed, codes)

    def _on_disconnect(
        self, client: Client, data: Any, flags: DisconnectFlags, code: ReasonCode,
        properties: Properties | None,
    ) -> None:  # fmt: skip
        self._tell(self._ended, f"the broker closed the connection: {code}")

    def _ended(self, reason: str) -> None:
        self.lost = self.lost or reason
        error = SourceUnavailable(reason)
        _fail(self.connected, error)
        _fail(self.subscribed, error)
        self._wake()

    def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        if self.overrun or len(self.incoming) >= self._connector.parameters.queue:
            if message.qos == 0:
                self._tell(self._connector.counters.lose, "queue-full")
                return
            # Not taken, not acknowledged: the broker still has it, and sends it after a reconnect.
            # Neither are those after it, or they would overtake it.
            self.overrun = True
            return
        self.incoming.append((message, now()))
        if not self._waking:
            self._waking = True
            self._tell(self._awake)

    def _awake(self) -> None:
        self._waking = False
        self._wake()


def _break(connection: Any) -> None:
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # seen: it may come after everybody stopped waiting


class MqttConnector(Connector[MqttParameters]):
    """Subscribes to topics and lands their messages."""

    kind: ClassVar[str] = "mqtt"
    Parameters: ClassVar[type[MqttParameters]] = MqttParameters
    schema: ClassVar[Schema] = RAW_MQTT

    def __init__(self, parameters: MqttParameters, environment: Environment) -> None:
        super().__init__(parameters, environment)
        self._line: _Line | None = None
        self._arrived = asyncio.Event()
        #: Those that are not taken from topics.
        fixed = (fixed_asset(subscription.asset) for subscription in parameters.subscriptions)
        self._named = frozenset(asset for asset in fixed if asset is not None)
        self._brings = [
            compile_assets(each.filter, each.asset) for each in parameters.subscriptions
        ]
        self._routes = [_route(subscription) for subscription in parameters.subscriptions]
        #: Topics seen, with their asset and route; bounded.
        self._known: dict[str, tuple[str, _Route] | None] = {}
        self._sessions = 0

    async def open(self) -> None:
        await self.close()
        parameters = self.parameters
        line = self._line = _Line(self, self._arrived.set)
        try:
            await line.start()
        except SourceRefused:
            raise
        except (OSError, TimeoutError, ValueError, SourceUnavailable) as error:
            reason = str(error) or "no answer"
            raise SourceUnavailable(
                f"MQTT broker {parameters.host}:{parameters.port}: {reason}"
            ) from error

    def session_found(self, present: bool) -> None:
        """Count a session that the broker forgot while we were away."""
        self._sessions += 1
        if self._sessions > 1 and not present and self.parameters.qos:
            self.counters.error("session-forgotten")
            log.warning("the broker forgot our session: what it kept for us meanwhile is lost")

    async def read(self) -> Sequence[Message]:
        line = self._line
        if line is None:
            raise SourceUnavailable("not connected")
        while not line.incoming:
            if line.lost:
                raise SourceUnavailable(line.lost)
            if line.overrun:
                self.counters.error("queue-overrun")
                raise SourceUnavailable("more came than fits the queue; the broker has the rest")
            self._arrived.clear()
            if line.incoming:  # came between the look and the clear
                break
            await self._arrived.wait()
        messages: list[Message] = []
        for _ in range(min(len(line.incoming), _READ)):
            message = self._message(line, *line.incoming.popleft())
            if message is not None:
                messages.append(message)
        return messages

    def _message(self, line: _Line, arrived: MQTTMessage, received: int) -> Message | None:
        self.counters.received += 1
        receipt = line.window.expect(arrived.mid, arrived.qos) if arrived.qos else None
        try:
            topic = arrived.topic
        except UnicodeDecodeError:
            topic = ""
        found = self._route_of(topic)
        if found is None:
            self.counters.lose("unmatched-topic")
            if receipt is not None:
                line.window.done(receipt)
            return None
        asset, route = found
        payload = bytes(arrived.payload)
        t = event_time(payload, route.path, route.format) if route.path else None
        item = MqttMessage(topic, payload, received, arrived.qos, arrived.retain)
        size = len(payload) + len(topic) + 80
        return Message(
            asset, item, received if t is None else t, received, receipt=receipt, size=size
        )

    def _route_of(self, topic: str) -> tuple[str, _Route] | None:
        try:
            return self._known[topic]
        except KeyError:
            pass
        found = None
        for route in self._routes:
            asset = route.asset_of(topic)
            if asset:
                found = (asset, route)
                break
        if len(topic) <= _LONGEST_TOPIC:
            if len(self._known) >= _TOPICS:
                self._known.clear()
            self._known[topic] = found
        return found

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        for message in messages:
            receipt: Receipt | None = message.receipt
            if receipt is not None:
                receipt.window.done(receipt)

    async def close(self) -> None:
        line, self._line = self._line, None
        if line is None:
            return
        line.window.close()
        line.lost = line.lost or "closed"
        try:
            await line.stop()
        except (OSError, ValueError, RuntimeError) as error:
            log.debug("closing: %s", error)

    def assets(self) -> frozenset[str]:
        return self._named

    def may_bring(self, asset: str) -> bool:
        return any(brings(asset) for brings in self._brings)

    @classmethod
    def pack(cls, messages: Sequence[Message]) -> bytes:
        return encode_mqtt([message.item for message in messages])

    def alive(self, asset: str) -> bool:
        return self._line is not None and not self._line.lost


def _route(subscription: Subscription) -> _Route:
    asset_of = compile_pattern(subscription.filter, subscription.asset)
    if subscription.time is None:
        return _Route(asset_of, (), "")
    return _Route(asset_of, tuple(subscription.time.path.split(".")), subscription.time.format)
