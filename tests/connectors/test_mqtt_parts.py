"""Topic patterns, acknowledgement order and times in payloads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from connectors.base import Environment
from connectors.mqtt import MqttConnector
from connectors.mqtt.acks import AckWindow, Receipt
from connectors.mqtt.parameters import MqttParameters
from connectors.mqtt.patterns import (
    check_asset,
    check_filter,
    compile_assets,
    compile_pattern,
)
from connectors.mqtt.times import event_time


@pytest.mark.parametrize(
    ("filter_", "asset", "topic", "expected"),
    [
        ("solar/+/+/data", "energy/{1}/{2}", "solar/north/7/data", "energy/north/7"),
        ("solar/+/+/data", "energy/{2}", "solar/north/7/data", "energy/7"),
        ("solar/+/+/data", "energy/{1}", "solar/north/7/state", None),
        ("solar/+/data", "energy/{1}", "solar/north/7/data", None),
        ("plant/#", "plant/{rest}", "plant/a/b", "plant/a/b"),
        ("plant/+/#", "{1}", "plant/a", "a"),
        ("plant/#", "plant", "plant", "plant"),
        ("plant/#", "plant", "plants", None),
        ("#", "{topic}", "a/b", "a/b"),
        ("#", "all", "$SYS/uptime", None),
        ("+/b", "{1}", "$SYS/b", None),
        ("a.b/+", "{1}", "a.b/c", "c"),
        ("a.b/+", "{1}", "aXb/c", None),
        ("$share/group/solar/+", "{1}", "solar/7", "7"),
        ("fixed", "meter", "fixed", "meter"),
    ],
)
def test_asset_of_a_topic(filter_: str, asset: str, topic: str, expected: str | None) -> None:
    assert compile_pattern(check_filter(filter_), check_asset(asset, filter_))(topic) == expected


@pytest.mark.parametrize(
    ("filter_", "asset", "name", "expected"),
    [
        ("solar/+/+/data", "energy/{1}/{2}", "energy/north/7", True),
        ("solar/+/+/data", "energy/{1}/{2}", "energy/north/7/8", False),
        ("solar/+/+/data", "energy/{1}/{2}", "energy/north", False),
        ("solar/+/data", "{1}-{1}", "a-a", True),
        ("solar/+/data", "{1}-{1}", "a-b", False),
        ("plant/#", "plant/{rest}", "plant/a/b", True),
        ("a/+/b", "{topic}", "a/x/b", True),
        ("a/+/b", "{topic}", "a/x/c", False),
        ("#", "{topic}", "$SYS/uptime", False),
        ("fixed", "meter.{{1}}", "meter.{1}", True),
        ("fixed", "meter.{{1}}", "meterX{1}", False),
        ("#", "{rest}", "", False),
    ],
)
def test_assets_that_may_come(filter_: str, asset: str, name: str, expected: bool) -> None:
    assert compile_assets(filter_, check_asset(asset, filter_))(name) is expected


@given(
    st.lists(st.sampled_from(["a", "+", "x.y", "$c"]), min_size=1, max_size=4), st.booleans(),
    st.lists(st.sampled_from(["a", "", "x.y", "b"]), min_size=1, max_size=5),
    st.sampled_from(["p/{1}", "{1}/{2}", "{rest}", "{topic}", "q.{2}{rest}", "{1}{1}"]),
)  # fmt: skip
def test_every_asset_that_comes_might_come(
    levels: list[str], rest: bool, topic: list[str], asset: str
) -> None:
    filter_ = "/".join([*levels, "#"] if rest else levels)
    try:
        check_asset(asset, filter_)
    except ValueError:
        return
    found = compile_pattern(filter_, asset)("/".join(topic))
    assert not found or compile_assets(filter_, asset)(found)


LEVEL = st.sampled_from(["a", "b", "", "$c", "+", "x.y"])


@given(st.lists(LEVEL, min_size=1, max_size=5), st.booleans(), st.lists(LEVEL, min_size=1))
def test_matches_as_paho_does(levels: list[str], rest: bool, topic_levels: list[str]) -> None:
    filter_ = "/".join([*levels, "#"] if rest else levels)
    topic = "/".join(level.replace("+", "p") for level in topic_levels)
    if not filter_ or not topic:
        return
    matched = compile_pattern(filter_, "asset")(topic) is not None
    assert matched == topic_matches_sub(filter_, topic)


@pytest.mark.parametrize("filter_", ["", "a/#/b", "a#", "a/b+", "a\0b"])
def test_filters_that_mqtt_refuses(filter_: str) -> None:
    with pytest.raises(ValueError, match=r"filter|must be"):
        check_filter(filter_)


@pytest.mark.parametrize("asset", ["{3}", "{rest}", "{}", "{1!r}", "{1:>3}", "{1", ""])
def test_asset_patterns_that_the_filter_does_not_give(asset: str) -> None:
    with pytest.raises(ValueError, match="asset"):
        check_asset(asset, "solar/+/+")


def test_wrong_subscription_says_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"uses \{3\}; filter 'a/\+' gives \{1\}, \{topic\}"):
        MqttParameters.model_validate({"subscriptions": [{"filter": "a/+", "asset": "x/{3}"}]})


@given(st.data())
def test_acknowledged_in_order_of_arrival(data: st.DataObject) -> None:
    sent: list[tuple[int, int]] = []
    window = AckWindow(lambda mid, qos: sent.append((mid, qos)))
    count = data.draw(st.integers(0, 30))
    receipts = [window.expect(mid, 1) for mid in range(count)]
    finished: list[Receipt] = []
    for receipt in data.draw(st.permutations(receipts)):
        window.done(receipt)
        finished.append(receipt)
        # exactly those before which nothing is open
        open_ = [each.mid for each in receipts if each not in finished]
        assert sent == [(mid, 1) for mid in range(min(open_, default=count))]
    assert len(window) == 0


def test_acknowledgements_of_an_older_connection_are_dropped() -> None:
    sent: list[int] = []
    old = AckWindow(lambda mid, qos: sent.append(mid))
    receipt = old.expect(5, 1)
    old.close()
    new = AckWindow(lambda mid, qos: sent.append(mid))
    new.expect(5, 1)
    receipt.window.done(receipt)
    new.done(receipt)
    assert sent == []


@pytest.mark.parametrize(
    ("payload", "path", "format_", "expected"),
    [
        (b'{"ts": 1700000000}', "ts", "unix_s", 1_700_000_000 * 10**9),
        (b'{"ts": 1700000000.25}', "ts", "unix_s", 1_700_000_000_250_000_000),
        (b'{"ts": "1700000000123"}', "ts", "unix_ms", 1_700_000_000_123_000_000),
        (b'{"ts": 1700000000123456789}', "ts", "unix_ns", 1_700_000_000_123_456_789),
        (b'{"a": {"t": "2013-12-02T21:15:00Z"}}', "a.t", "iso8601", 1_386_018_900 * 10**9),
        (b'{"a": ["2013-12-02T22:15:00+01:00"]}', "a.-1", "iso8601", 1_386_018_900 * 10**9),
        (b'{"ts": true}', "ts", "unix_s", None),
        (b'{"ts": 1e300}', "ts", "unix_s", None),
        (b'{"ts": "soon"}', "ts", "unix_s", None),
        (b'{"ts": {}}', "ts", "iso8601", None),
        (b"not json", "ts", "unix_s", None),
        (b"[1]", "ts", "unix_s", None),
        (b"5", "ts", "unix_s", None),
    ],
)
def test_event_time(payload: bytes, path: str, format_: str, expected: int | None) -> None:
    assert event_time(payload, tuple(path.split(".")), format_) == expected


@given(st.binary(max_size=60), st.sampled_from(["unix_s", "unix_ms", "unix_ns", "iso8601"]))
def test_event_time_is_never_an_error(payload: bytes, format_: str) -> None:
    event_time(payload, ("a", "0"), format_)


def test_topics_that_never_come_again_fill_no_memory() -> None:
    subscriptions = [{"filter": "#", "asset": "{topic}"}, {"filter": "a", "asset": "{{meter}}"}]
    parameters = MqttParameters.model_validate({"subscriptions": subscriptions})
    made = MqttConnector(parameters, Environment("loggers", "loggers"))
    for number in range(60_000):
        found = made._route_of(f"topic/{number}")
        assert found is not None
    assert len(made._known) <= 50_000
    long = "x" * 60_000
    assert made._route_of(long) is not None
    assert long not in made._known
    assert made.assets() == {"{meter}"}
