"""The MQTT connector against real brokers: amqtt for 3.1.1, Debian's mosquitto for both."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from connectors.base import Environment, Message
from connectors.mqtt import MqttConnector
from models.errors import SourceRefused, SourceUnavailable
from models.records.raw import decode_mqtt
from tests.conftest import require

_AMQTT = Path(__file__).parents[2] / "app" / "embedded" / "mqtt_broker.py"
_MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Broker:
    """A broker process that can be started again on its port; its sessions die with it."""

    def __init__(self, command: Callable[[int], list[str]], versions: tuple[str, ...]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.versions = versions
        self._command = command
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command(self.port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("the broker does not start")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def publish(self, topic: str, *payloads: bytes, qos: int = 1) -> None:
        client = Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        for info in [client.publish(topic, payload, qos) for payload in payloads]:
            info.wait_for_publish(10)
        client.disconnect()
        client.loop_stop()


@dataclass(frozen=True)
class Case:
    broker: Broker
    version: str


@pytest.fixture(scope="module", params=["amqtt-3.1.1", "mosquitto-3.1.1", "mosquitto-5"])
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    kind, version = request.param.split("-")
    if kind == "mosquitto":
        require(_MOSQUITTO, "mosquitto (apt-get install mosquitto)")
        config = tmp_path_factory.mktemp("mosquitto") / "mosquitto.conf"

        def command(port: int) -> list[str]:
            config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
            return [str(_MOSQUITTO), "-c", str(config)]
    else:

        def command(port: int) -> list[str]:
            return [sys.executable, "-I", str(_AMQTT), "127.0.0.1", str(port)]

    broker = Broker(command, (version,))
    yield Case(broker, version)
    broker.stop()


def connector(case: Case, site: str, **more: Any) -> MqttConnector:
    parameters = {
        "port": case.broker.port,
        "protocol": case.version,
        "subscriptions": [{"filter": f"{site}/+/data", "asset": "logger/{1}"}],
        "connect_timeout": "5s",
        **more,
    }
    return MqttConnector(
        MqttConnector.Parameters.model_validate(parameters), Environment("loggers", f"ps-{site}")
    )


async def read_until(made: MqttConnector, count: int) -> list[Message]:
    messages: list[Message] = []
    async with asyncio.timeout(20):
        while len(messages) < count:
            messages += await made.read()
    return messages


def payloads(messages: list[Message]) -> list[bytes]:
    return [message.item.payload for message in messages]


ODD = [b"", b"\x00\xff", b'{"a": 1}', "Öl".encode(), b"x" * 100_000]


def test_payloads_are_verbatim(case: Case) -> None:
    async def scenario() -> list[Message]:
        made = connector(case, "verbatim")
        await made.open()
        await asyncio.to_thread(case.broker.publish, "verbatim/7/data", *ODD)
        messages = await read_until(made, len(ODD))
        await made.acknowledge(messages)
        await made.close()
        return messages

    messages = asyncio.run(scenario())
    assert payloads(messages) == ODD
    assert {message.asset for message in messages} == {"logger/7"}
    record = decode_mqtt(MqttConnector.pack(messages))
    assert [each.payload for each in record] == ODD
    assert {(each.topic, each.qos) for each in record} == {("verbatim/7/data", 1)}


def test_what_was_not_acknowledged_comes_again(case: Case) -> None:
    """A new process after a kill -9: the same client id, nothing acknowledged."""

    async def scenario() -> None:
        first = connector(case, "again")
        await first.open()
        numbers = [str(n).encode() for n in range(15)]
        await asyncio.to_thread(case.broker.publish, "again/1/data", *numbers)
        messages = await read_until(first, 15)
        await first.acknowledge(messages[2:5])  # later ones alone: nothing may be sent
        await first.acknowledge(messages[0:1])
        assert first._line is not None
        while first._line.client.want_write():  # the acknowledgement is on its way
            await asyncio.sleep(0.01)
        first._line.client.socket().shutdown(socket.SHUT_RDWR)  # no DISCONNECT, as in a crash
        with pytest.raises(SourceUnavailable):
            await first.read()
        await first.close()
        await asyncio.to_thread(case.broker.publish, "again/1/data", b"meanwhile")

        second = connector(case, "again")
        await second.open()
        messages = await read_until(second, 15)
        assert payloads(messages) == [*numbers[1:], b"meanwhile"]
        await first.acknowledge(messages)  # an acknowledgement of the older connection's object
        await second.acknowledge(messages)
        await second.close()

        third = connector(case, "again")
        await third.open()
        await asyncio.to_thread(case.broker.publish, "again/1/data", b"last")
        assert payloads(await read_until(third, 1)) == [b"last"]
        await third.close()

    asyncio.run(scenario())


def test_topics_of_no_subscription_are_counted_and_block_nobody(case: Case) -> None:
    async def scenario() -> None:
        # the first filter matches all of the broker's, the asset pattern gives none an empty name
        subscriptions = [{"filter": "odd/#", "asset": "{rest}"}]
        made = connector(case, "odd", subscriptions=subscriptions)
        await made.open()
        await asyncio.to_thread(case.broker.publish, "odd", b"no asset")
        await asyncio.to_thread(case.broker.publish, "odd/a", b"asset")
        messages = await read_until(made, 1)
        assert [message.asset for message in messages] == ["a"]
        assert made.counters.lost == {"unmatched-topic": 1}
        await made.acknowledge(messages)
        assert made._line is not None
        assert len(made._line.window) == 0
        await made.close()

    asyncio.run(scenario())


def test_more_than_the_queue_holds_comes_after_a_reconnect(case: Case) -> None:
    async def scenario() -> None:
        made = connector(case, "many", queue=10)
        await made.open()
        numbers = [str(n).encode() for n in range(18)]
        await asyncio.to_thread(case.broker.publish, "many/1/data", *numbers)
        found: list[bytes] = []
        async with asyncio.timeout(20):
            while len(set(found)) < 18:
                try:
                    messages = list(await made.read())
                except SourceUnavailable:
                    await made.open()
                    continue
                found += payloads(messages)
                await made.acknowledge(messages)
        await made.close()
        first_times = list(dict.fromkeys(found))
        assert first_times == numbers
        assert made.counters.lost == {}

    asyncio.run(scenario())


def test_a_broker_that_goes_is_noticed(case: Case) -> None:
    async def scenario() -> None:
        made = connector(case, "gone")
        await made.open()
        assert made.alive("x")
        case.broker.stop()
        try:
            with pytest.raises(SourceUnavailable):
                async with asyncio.timeout(10):
                    await made.read()
            assert not made.alive("x")
            with pytest.raises(SourceUnavailable, match=f"127.0.0.1:{case.broker.port}"):
                await made.open()
        finally:
            case.broker.start()
        await made.open()
        assert made.alive("x")
        assert made.counters.errors == {"session-forgotten": 1}
        await made.close()

    asyncio.run(scenario())


def _mute() -> socket.socket:
    """Accepts connections and says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.listen()
    return listener


def _full() -> socket.socket:
    """Answers no attempt to connect: its queue is full, as seen by who comes next."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    for _ in range(2):
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
        _QUEUED.append(waiting)
    return listener


_QUEUED: list[socket.socket] = []


@pytest.mark.parametrize("silent", [_mute, _full])
def test_stopping_does_not_wait_for_a_broker_that_does_not_answer(
    silent: Callable[[], socket.socket],
) -> None:
    async def scenario(port: int) -> float:
        parameters = {"port": port, "subscriptions": [{"filter": "a", "asset": "a"}]}
        made = MqttConnector(
            MqttConnector.Parameters.model_validate(parameters), Environment("a", "a")
        )
        opening = asyncio.create_task(made.open())
        assert not (await asyncio.wait([opening], timeout=0.3))[0]
        begun = time.monotonic()
        opening.cancel()
        await asyncio.wait([opening])
        await made.close()
        return begun

    with silent() as listener:
        begun = asyncio.run(scenario(listener.getsockname()[1]))
        # with the end of the loop, which waits for threads of its own
        assert time.monotonic() - begun < 1


def test_a_broker_that_wants_a_password_refuses(tmp_path: Path) -> None:
    require(_MOSQUITTO, "mosquitto (apt-get install mosquitto)")
    config = tmp_path / "mosquitto.conf"

    def command(port: int) -> list[str]:
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\n")
        return [str(_MOSQUITTO), "-c", str(config)]

    broker = Broker(command, ("5",))
    try:
        for version in ("3.1.1", "5"):
            made = connector(Case(broker, version), "secret")
            with pytest.raises(SourceRefused, match="refuses the connection"):
                asyncio.run(made.open())
    finally:
        broker.stop()
