"""Which assets of the catalogue are expected through which connector."""

from __future__ import annotations

from typing import Any

from app.shells.connector_runner import make_connector
from app.shells.connector_runner.expected import expected_assets
from connectors.base import Connector


def mqtt(name: str, **subscriptions: str) -> Connector[Any]:
    given = [{"filter": topic, "asset": asset} for asset, topic in subscriptions.items()]
    return make_connector(name, "mqtt", {"subscriptions": given})


def opcua(name: str, *assets: str) -> Connector[Any]:
    items = [{"node": f"ns=2;s={asset}", "asset": asset, "tag": "t"} for asset in assets]
    return make_connector(name, "opcua", {"endpoint": "opc.tcp://plc:4840", "items": items})


def test_an_asset_is_expected_through_whom_it_alone_can_come() -> None:
    connectors = {
        "press": opcua("press", "glass/furnace"),
        "loggers": mqtt("loggers", **{"glass/{1}": "glass/env/+", "energy/{1}/{2}": "s/+/+/data"}),
        "others": mqtt("others", **{"{topic}": "energy/+/both"}),
    }
    catalogue = [
        "glass/furnace", "glass/air-1", "energy/north/1", "energy/north/both", "energy/north",
        "derived",
    ]  # fmt: skip
    assert expected_assets(catalogue, connectors) == {
        "press": frozenset(),  # names its own
        "loggers": {"glass/air-1", "energy/north/1"},
        "others": frozenset(),
    }
    assert expected_assets(catalogue, {}) == {}
