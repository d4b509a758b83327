"""The embedded MQTT broker process: amqtt, with a delivery that loses nothing at QoS 1.

Run by file name: ``mqtt_broker.py HOST PORT``. What amqtt 0.12 does by itself, and this changes:

* it forgets a message that a subscriber has not acknowledged within 5 s, or before it lost its
  connection: here it stays, and is sent again (DUP) when the session comes back;
* beyond 65,535 messages in flight it drops: here at most `WINDOW` are in flight to a client, and
  the rest waits in the session's queue;
* messages acknowledged to a publisher that disconnects at once are lost: here a message is in
  the queues of all its subscribers before its publisher gets the acknowledgement;
* it keeps nothing for absent subscribers without a user name: here every session that asked to
  be kept (clean session off) is kept, until the broker ends.

Subscriptions are granted QoS 1 at most, which MQTT 3.1.1 allows (3.8.4). Nothing is on disk.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections import deque
from collections.abc import Coroutine
from typing import Any

import amqtt.broker
from amqtt.broker import Broker
from amqtt.mqtt.constants import QOS_0, QOS_1
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.mqtt.puback import PubackPacket
from amqtt.session import INCOMING, OutgoingApplicationMessage, Session

WINDOW = 1_000
_WARN_EVERY = 100_000

log = logging.getLogger("mqtt_broker")


class Outbox:
    """What a session has still to be sent at QoS 1: unsent in order, and sent, unacknowledged."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[str, bytes, bool]] = deque()
        self.in_flight: dict[int, OutgoingApplicationMessage] = {}
        self._packet_id = 0

    def next_packet_id(self) -> int:
        while True:
            self._packet_id = self._packet_id % 65_535 + 1
            if self._packet_id not in self.in_flight:
                return self._packet_id


def outbox_of(session: Session) -> Outbox:
    """The outbox of a session; it lives as long as the session does."""
    outbox: Outbox | None = getattr(session, "plantstream_outbox", None)
    if outbox is None:
        outbox = session.plantstream_outbox = Outbox()
    return outbox


class Handler(BrokerProtocolHandler):  # type: ignore[misc]
    """One client's connection. It is live from the end of its start to the begin of its stop."""

    live = False
    subscribing = False

    async def stop(self) -> None:
        self.live = False
        await super().stop()

    async def mqtt_publish(
        self,
        topic: str,
        data: bytes | bytearray,
        qos: int | None,
        retain: bool,
        ack_timeout: int | None = None,
    ) -> Any:
        if qos == QOS_0 or self.session is None:
            return await super().mqtt_publish(topic, data, qos, retain, ack_timeout)
        put(self.session, topic, bytes(data), retain)
        self.pump()
        return None

    def pump(self) -> None:
        """Send from the session's queue until the window is full."""
        if self.session is None or not self.live:
            return
        outbox = outbox_of(self.session)
        while outbox.waiting and len(outbox.in_flight) < WINDOW:
            topic, data, retain = outbox.waiting.popleft()
            number = outbox.next_packet_id()
            message = OutgoingApplicationMessage(number, topic, QOS_1, data, retain)
            outbox.in_flight[number] = message
            # Tasks write in the order in which they were made: the write lock is fair.
            _in_background(self._send_packet(message.build_publish_packet()))

    async def _retry_deliveries(self) -> None:
        """At the start of a connection: send again what an earlier one left unacknowledged."""
        assert self.session is not None
        for message in list(outbox_of(self.session).in_flight.values()):
            await self._send_packet(message.build_publish_packet(dup=True))
        self.live = True
        self.pump()

    async def handle_puback(self, puback: PubackPacket) -> None:
        if self.session is not None and puback.variable_header is not None:
            outbox_of(self.session).in_flight.pop(puback.variable_header.packet_id, None)
            self.pump()

    async def _handle_message_flow(self, app_message: Any) -> None:
        """Route a QoS 0 or 1 message from the client before acknowledging it."""
        if app_message.direction != INCOMING or app_message.qos not in (QOS_0, QOS_1):
            await super()._handle_message_flow(app_message)
            return
        assert self.session is not None
        broker: ReliableBroker = self.plugins_manager.context._broker_instance
        if not await broker.accept(self.session, app_message):
            await self.handle_connection_closed()
        elif app_message.qos == QOS_1:
            await self._send_packet(PubackPacket.build(app_message.packet_id))


_sending: set[asyncio.Future[Any]] = set()


def _in_background(sending: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(sending)
    _sending.add(task)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Future[Any]) -> None:
    _sending.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.info("a connection ended while sending: %s", error)  # the message stays in flight


def put(session: Session, topic: str, data: bytes, retain: bool = False) -> None:
    """Queue a QoS 1 message for a session, connected or not."""
    waiting = outbox_of(session).waiting
    waiting.append((topic, data, retain))
    if len(waiting) % _WARN_EVERY == 0:
        log.warning("client %s: %d messages wait", session.client_id, len(waiting))


class ReliableBroker(Broker):  # type: ignore[misc]
    """amqtt's broker with `Handler` connections and queues that keep."""

    async def _authenticate(self, session: Session, _: Any) -> bool:
        return True

    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        topic_filter, qos = subscription
        granted = await super().add_subscription((topic_filter, min(qos, QOS_1)), session)
        subscribers = self._subscriptions.get(topic_filter, [])
        for index, (other, _) in enumerate(subscribers):
            if other.client_id == session.client_id and granted in (QOS_0, QOS_1):
                # 3.8.4: a repeated subscription replaces the QoS of the first.
                subscribers[index] = (session, granted)
        return int(granted)

    async def accept(self, session: Session, message: Any) -> bool:
        """Put a client's message into its subscribers' queues; False if its topic is invalid."""
        topic = message.topic
        if not topic or "#" in topic or "+" in topic or topic.startswith("$"):
            log.warning("client %s: invalid topic %r, closing", session.client_id, topic)
            return False
        await self._broadcast_message(session, topic, message.data, message.qos)
        if message.publish_packet is not None and message.publish_packet.retain_flag:
            await self.retain_message(session, topic, message.data, message.qos)
        return True

    async def _handle_message_delivery(self, session: Any, _: Any, waiter: Any) -> bool:
        message = waiter.result()  # QoS 2, once its handshake is done
        return message is None or await self.accept(session, message)

    async def _broadcast_message(
        self,
        session: Session | None,
        topic: str | None,
        data: bytes | bytearray | None,
        force_qos: int | None = None,
    ) -> None:
        for topic_filter, subscribers in list(self._subscriptions.items()):
            if topic is None or not self._matches(topic, topic_filter):
                continue
            for subscriber, granted in list(subscribers):
                qos = min(QOS_0 if force_qos is None else force_qos, granted)
                handler = self._get_handler(subscriber)
                if isinstance(handler, Handler) and handler.live:
                    await handler.mqtt_publish(topic, data or b"", qos, retain=False)
                elif qos == QOS_1 and (handler is None or not subscriber.clean_session):
                    put(subscriber, topic, bytes(data or b""))

    async def _client_message_loop(self, session: Session, handler: Any) -> None:
        handler.subscribing = True
        await super()._client_message_loop(session, handler)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # amqtt also sends every client that connects the retained messages of everybody's
        # subscriptions; 3.3.1.3 wants them at a subscription, and only then.
        handler = self._get_handler(session)
        if isinstance(handler, Handler) and handler.subscribing:
            await super()._publish_retained_messages_for_subscription(subscription, session)


async def serve(host: str, port: int) -> None:
    """Run the broker until SIGTERM or SIGINT."""
    amqtt.broker.BrokerProtocolHandler = Handler  # the one place where it makes connections
    broker = ReliableBroker(
        {"listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}}, "plugins": {}}
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await broker.start()
    log.info("listening on %s:%d", host, port)
    await stop.wait()
    await broker.shutdown()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("amqtt").setLevel(logging.WARNING)
    logging.getLogger("transitions").setLevel(logging.WARNING)
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
