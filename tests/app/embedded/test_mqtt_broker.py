"""The embedded MQTT broker loses nothing at QoS 1; seen with an independent client (paho)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from app.embedded import EmbeddedStack

pytestmark = pytest.mark.integration
Message = tuple[str, bytes, int, bool]
Subscribe = tuple[str, int] | None


class Client:
    """A paho client whose received messages are in a queue; they are acknowledged by hand."""

    def __init__(
        self, stack: EmbeddedStack, name: str, *, keep: bool, subscribe: Subscribe
    ) -> None:
        self.received: Queue[mqtt.MQTTMessage] = Queue()
        self.ready = threading.Event()
        self.session_present = False
        self.paho = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=name, clean_session=not keep, manual_ack=True
        )
        self.paho.max_inflight_messages_set(65_535)
        self.paho.on_message = lambda c, u, message: self.received.put(message)

        def on_connect(c: object, u: object, flags: mqtt.ConnectFlags, *_: object) -> None:
            self.session_present = flags.session_present
            if subscribe:
                self.paho.subscribe(*subscribe)
            else:
                self.ready.set()

        self.paho.on_connect = on_connect
        self.paho.on_subscribe = lambda *_: self.ready.set()
        host, port = stack.endpoints.mqtt_host, stack.endpoints.mqtt_port
        assert host is not None
        assert port is not None
        self.paho.connect(host, port)
        self.paho.loop_start()
        assert self.ready.wait(20)

    def take(self, count: int, *, ack: bool = True) -> list[Message]:
        messages: list[Message] = []
        for _ in range(count):
            message = self.received.get(timeout=30)
            messages.append((message.topic, bytes(message.payload), message.qos, message.retain))
            if ack:
                self.paho.ack(message.mid, message.qos)
        return messages

    def publish(self, topic: str, payloads: range, *, qos: int = 1, retain: bool = False) -> None:
        sent = [self.paho.publish(topic, b"%d" % i, qos, retain) for i in payloads]
        for info in sent:
            info.wait_for_publish(30)

    def stay_away(self) -> None:
        """Do not connect again when the broker closes the connection."""

        def on_disconnect(*_: object) -> None:
            self.paho.disconnect()

        self.paho.on_disconnect = on_disconnect

    def drop(self) -> None:
        """Break the connection without a word, as a crash does."""
        self.paho.on_disconnect = None
        line = self.paho.socket()
        assert line is not None
        self.paho.loop_stop()
        line.close()


Connect = Callable[..., Client]


@pytest.fixture
def connect(stack: EmbeddedStack, topic_prefix: str) -> Iterator[Connect]:
    clients: list[Client] = []

    def make(name: str, *, keep: bool = False, subscribe: Subscribe = None) -> Client:
        client = Client(stack, topic_prefix + name, keep=keep, subscribe=subscribe)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.paho.disconnect()
        client.paho.loop_stop()


@contextmanager
def visitor(connect: Connect, name: str = "visitor") -> Iterator[Client]:
    client = connect(name)
    yield client
    client.paho.disconnect()
    client.paho.loop_stop()


def payloads(messages: list[Message]) -> list[int]:
    return [int(payload) for _, payload, _, _ in messages]


def take_until(client: Client, last: int) -> list[int]:
    got: list[int] = []
    while last not in got[-1:]:
        got += payloads(client.take(1))
    return got


def test_publisher_that_leaves_at_once_loses_nothing(connect: Connect, topic_prefix: str) -> None:
    topic = f"{topic_prefix}/t"
    subscriber = connect("s", subscribe=(f"{topic_prefix}/#", 1))
    for start in range(0, 2_000, 500):
        with visitor(connect, f"p{start}") as publisher:
            publisher.publish(topic, range(start, start + 500))
    got = subscriber.take(2_000)
    assert payloads(got) == list(range(2_000))
    assert {(qos, retain) for _, _, qos, retain in got} == {(1, False)}


def test_kept_session_gets_what_came_while_it_was_away(
    connect: Connect, topic_prefix: str
) -> None:
    topic = f"{topic_prefix}/t"
    subscription = (topic, 1)
    first = connect("s", keep=True, subscribe=subscription)
    assert not first.session_present
    with visitor(connect) as publisher:
        publisher.publish(topic, range(10))
        assert payloads(first.take(10)) == list(range(10))
        first.paho.disconnect()
        first.paho.loop_stop()
        publisher.publish(topic, range(10, 3_000))
    second = connect("s", keep=True)  # no second subscription: the session has it
    assert second.session_present
    got = take_until(second, 2_999)
    # The last of the ten may come twice: their acknowledgements may not have arrived in time.
    assert got == list(range(got[0], 3_000))
    assert got[0] <= 10


def test_unacknowledged_messages_come_again_after_a_crash(
    connect: Connect, topic_prefix: str
) -> None:
    topic = f"{topic_prefix}/t"
    first = connect("s", keep=True, subscribe=(topic, 1))
    with visitor(connect) as publisher:
        publisher.publish(topic, range(20))
        first.take(5)
        first.take(15, ack=False)
        first.drop()
        publisher.publish(topic, range(20, 40))
    second = connect("s", keep=True)
    again = take_until(second, 39)
    # The first five may come twice: their acknowledgements may have been lost with the line.
    assert again == list(range(again[0], 40))
    assert again[0] <= 5


def test_slow_subscriber_gets_everything_in_order(connect: Connect, topic_prefix: str) -> None:
    """More unacknowledged messages than the broker has in flight, and then all at once."""
    topic = f"{topic_prefix}/t"
    subscriber = connect("s", subscribe=(topic, 1))
    with visitor(connect) as publisher:
        publisher.publish(topic, range(3_000))
        held = [subscriber.received.get(timeout=30) for _ in range(1_000)]
        assert subscriber.received.empty()  # the window is full
        for message in held:
            subscriber.paho.ack(message.mid, message.qos)
        rest = subscriber.take(2_000)
    assert [int(m.payload) for m in held] + payloads(rest) == list(range(3_000))


@pytest.mark.parametrize(
    ("sent", "subscribed", "arrives"), [(0, 1, 0), (1, 0, 0), (1, 1, 1), (2, 1, 1), (2, 2, 1)]
)
def test_quality_of_service_is_the_lower_one(
    connect: Connect, topic_prefix: str, sent: int, subscribed: int, arrives: int
) -> None:
    topic = f"{topic_prefix}/t"
    subscriber = connect("s", subscribe=(topic, subscribed))
    with visitor(connect) as publisher:
        publisher.publish(topic, range(3), qos=sent)
        got = subscriber.take(3)
    assert [(int(payload), qos) for _, payload, qos, _ in got] == [(i, arrives) for i in range(3)]


def test_retained_message_reaches_later_subscribers_only(
    connect: Connect, topic_prefix: str
) -> None:
    topic = f"{topic_prefix}/birth"
    with visitor(connect) as publisher:
        publisher.publish(topic, range(7, 8), retain=True)
    late = connect("late", subscribe=(topic, 1))
    assert late.take(1) == [(topic, b"7", 1, True)]
    other = connect("other", subscribe=(f"{topic_prefix}/other", 1))
    with visitor(connect) as publisher:
        publisher.publish(f"{topic_prefix}/other", range(1))
    assert other.take(1) == [(f"{topic_prefix}/other", b"0", 1, False)]


def test_same_client_id_takes_the_session_over(connect: Connect, topic_prefix: str) -> None:
    topic = f"{topic_prefix}/t"
    old = connect("s", keep=True, subscribe=(topic, 1))
    old.stay_away()
    new = connect("s", keep=True)
    assert new.session_present
    with visitor(connect) as publisher:
        publisher.publish(topic, range(50))
    assert payloads(new.take(50)) == list(range(50))
    assert old.received.empty()
