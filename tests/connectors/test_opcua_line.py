"""The OPC UA connector against a real server: types, status, losses, dead subscriptions."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from asyncua import Server, ua

from connectors.base import Environment, Message
from connectors.opcua import OpcUaConnector
from models.errors import SourceRefused, SourceUnavailable
from models.records.raw import decode_opcua
from models.records.values import exact
from models.time import from_datetime

MOMENT = datetime(2013, 12, 2, 21, 15, 0, 250001, tzinfo=UTC)


class Plant:
    """A server with variables ``ns=2;s=<name>``."""

    def __init__(self, server: Server, endpoint: str) -> None:
        self.server, self.endpoint = server, endpoint

    async def add(self, name: str, value: Any, kind: ua.VariantType) -> None:
        await self.server.nodes.objects.add_variable(
            ua.NodeId(name, 2), name, ua.Variant(value, kind)
        )

    async def write(
        self, name: str, value: Any, kind: ua.VariantType, status: int = 0, moment: Any = MOMENT
    ) -> None:
        await self.server.write_attribute_value(
            ua.NodeId(name, 2),
            ua.DataValue(
                Value=ua.Variant(value, kind),
                StatusCode=ua.StatusCode(ua.UInt32(status)),
                SourceTimestamp=moment,
                ServerTimestamp=MOMENT,
            ),
        )


@asynccontextmanager
async def plant() -> AsyncIterator[Plant]:
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server()
    await server.init()
    endpoint = f"opc.tcp://127.0.0.1:{port}/plant"
    server.set_endpoint(endpoint)
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    await server.register_namespace("urn:plant")
    await server.start()
    try:
        yield Plant(server, endpoint)
    finally:
        await server.stop()


def connector(endpoint: str, tags: list[str], **more: Any) -> OpcUaConnector:
    parameters = {
        "endpoint": endpoint,
        "publishing_interval": "20ms",
        "items": [{"node": f"ns=2;s={tag}", "asset": "pump", "tag": tag} for tag in tags],
        **more,
    }
    return OpcUaConnector(
        OpcUaConnector.Parameters.model_validate(parameters), Environment("press", "press")
    )


async def read_until(made: OpcUaConnector, count: int) -> list[Message]:
    messages: list[Message] = []
    async with asyncio.timeout(20):
        while len(messages) < count:
            messages += await made.read()
    return messages


T = ua.VariantType
TYPES: list[tuple[str, ua.VariantType, Any]] = [
    ("bool", T.Boolean, True),
    ("int64", T.Int64, -(2**63)),
    ("uint64", T.UInt64, 2**64 - 1),
    ("byte", T.Byte, 255),
    ("float", T.Float, 0.25),
    ("double", T.Double, 1e300),
    ("infinite", T.Double, -math.inf),
    ("text", T.String, "Öl"),
    ("array", T.Int32, [1, 2, 3]),
]


def test_types_times_and_status_reach_the_record() -> None:
    async def scenario() -> None:
        async with plant() as site:
            for name, kind, value in TYPES:
                await site.add(name, value, kind)
                await site.write(name, value, kind)
            await site.add("nan", 0.0, T.Double)
            await site.write("nan", math.nan, T.Double, 0x40920000)
            await site.add("bad", 0.0, T.Double)
            await site.write("bad", 7.0, T.Double, 0x80050000)
            names = [name for name, *_ in TYPES] + ["nan", "bad"]
            made = connector(site.endpoint, names)
            await made.open()
            messages = await read_until(made, len(names))
            await made.close()
        record = decode_opcua(OpcUaConnector.pack(messages))
        values = dict(
            zip(
                (record.tags[tag] for tag in record.tag),
                exact(record.v, record.typed),
                strict=True,
            )
        )
        status = {
            record.tags[tag]: int(code) for tag, code in zip(record.tag, record.status, strict=True)
        }
        for name, _, value in TYPES:
            assert values[name] == value
            assert type(values[name]) is type(value) or isinstance(value, int)
            assert status[name] == 0
        assert math.isnan(values["nan"])
        assert status["nan"] == 0x40920000
        # a bad value is none: what the server keeps beside the status is old
        assert values["bad"] is None
        assert status["bad"] == 0x80050000
        assert set(map(int, record.t)) == {from_datetime(MOMENT)}
        assert set(map(int, record.server_t)) == {from_datetime(MOMENT)}

    asyncio.run(scenario())


def test_every_change_of_the_time_alone_comes_too() -> None:
    async def scenario() -> None:
        async with plant() as site:
            await site.add("a", 1.0, T.Double)
            made = connector(site.endpoint, ["a"])
            await made.open()
            await read_until(made, 1)
            moments = [datetime(2014, 1, 1, 0, 0, n, tzinfo=UTC) for n in range(30)]
            for moment in moments:
                await site.write("a", 1.0, T.Double, moment=moment)
            messages = await read_until(made, 30)
            await made.close()
        assert [message.t for message in messages] == [from_datetime(each) for each in moments]

    asyncio.run(scenario())


def test_no_value_yet_is_no_sample() -> None:
    async def scenario() -> None:
        async with plant() as site:
            await site.add("a", 1.0, T.Double)
            await site.write("a", None, T.Null, 0x80320000, moment=None)
            await site.add("b", 1.0, T.Double)
            made = connector(site.endpoint, ["a", "b"])
            await made.open()
            messages = await read_until(made, 1)
            await made.close()
        assert [message.item.tag for message in messages] == ["b"]
        assert made.counters.errors == {"waiting-for-initial-data": 1}
        assert made.counters.lost == {}

    asyncio.run(scenario())


def test_what_does_not_fit_the_queue_is_counted() -> None:
    async def scenario() -> None:
        async with plant() as site:
            await site.add("a", 0.0, T.Double)
            made = connector(site.endpoint, ["a"], queue=10)
            await made.open()
            await read_until(made, 1)
            for n in range(50):  # nobody reads meanwhile
                await site.write("a", float(n), T.Double)
            while not made.counters.lost:
                await asyncio.sleep(0.01)
            messages = await read_until(made, 10)
            await made.close()
        assert [message.item.value for message in messages] == [float(n) for n in range(10)]
        assert made.counters.lost == {"queue-full": 40}

    asyncio.run(scenario())


def test_values_of_nothing_we_asked_for_are_counted_and_the_rest_is_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server that mixes up client handles: one item's values come under a handle of none."""

    async def scenario() -> None:
        async with plant() as site:
            for tag in "ab":
                await site.add(tag, 0.0, T.Double)
            made = connector(site.endpoint, ["a", "b"])
            await made.open()
            await read_until(made, 2)
            (subscription,) = site.server.iserver.subscription_service.subscriptions.values()
            items = subscription.monitored_item_srv._monitored_items.values()
            next(item for item in items if item.client_handle == 1).client_handle = 99
            for n in range(1, 6):
                await site.write("a", float(n), T.Double)
                await site.write("b", float(n), T.Double)
            messages = await read_until(made, 5)
            await made.close()
        assert [(each.item.tag, each.item.value) for each in messages] == [
            ("b", float(n)) for n in range(1, 6)
        ]
        assert made.counters.lost == {"unknown-handle": 5}
        assert [record.getMessage() for record in caplog.records].count(
            "press: the server sends values of client handle 99, which nothing has;"
            " they are counted"
        ) == 1

    caplog.set_level(logging.WARNING, "plantstream.opcua")
    asyncio.run(scenario())


def test_a_subscription_that_fell_asleep_is_noticed() -> None:
    """The session lives and answers; only the data stopped: "connected but dead"."""

    async def scenario() -> None:
        async with plant() as site:
            await site.add("a", 0.0, T.Double)
            made = connector(site.endpoint, ["a"], silence="2s")
            await made.open()
            await read_until(made, 1)
            for subscription in site.server.iserver.subscription_service.subscriptions.values():
                await subscription.stop()
            with pytest.raises(SourceUnavailable, match="for 2 s"):
                await read_until(made, 1)
            await made.open()
            assert await read_until(made, 1)
            await made.close()

    asyncio.run(scenario())


def test_quiet_items_are_no_reason_to_reconnect() -> None:
    async def scenario() -> None:
        async with plant() as site:
            await site.add("a", 0.0, T.Double)
            made = connector(site.endpoint, ["a"], silence="1500ms")
            await made.open()
            await read_until(made, 1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await made.read()
            assert made.alive("pump")
            await made.close()

    asyncio.run(scenario())


def test_a_node_that_appears_later_is_taken_up() -> None:
    async def scenario() -> None:
        async with plant() as site:
            made = connector(site.endpoint, ["late"], retry_items="200ms")
            await made.open()
            assert not made.alive("pump")
            assert made.problems() == (
                "the server refuses node ns=2;s=late (pump late): BadNodeIdUnknown",
            )
            await site.add("late", 5.0, T.Double)
            [message] = await read_until(made, 1)
            assert message.item.value == 5.0
            while made.problems():
                await asyncio.sleep(0.01)
            assert made.alive("pump")
            await made.close()

    asyncio.run(scenario())


def test_nobody_listens_and_nobody_knows_the_host() -> None:
    async def scenario() -> None:
        async with plant() as site:
            endpoint = site.endpoint
        for wrong in (endpoint, "opc.tcp://no-such-host.invalid:4840/"):
            made = connector(wrong, ["a"], timeout="500ms")
            with pytest.raises(SourceUnavailable, match=r"OPC UA server opc\.tcp"):
                await made.open()
            await made.close()

    asyncio.run(scenario())


def test_a_login_that_the_server_refuses() -> None:
    async def scenario() -> None:
        async with plant() as site:
            site.server.set_identity_tokens([ua.UserNameIdentityToken])
            made = connector(site.endpoint, ["a"])
            with pytest.raises((SourceRefused, SourceUnavailable)):
                await made.open()
            await made.close()

    asyncio.run(scenario())
