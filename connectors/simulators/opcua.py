"""An OPC UA server: a folder per asset, a variable ``ns=2;s=<asset>/<tag>`` per tag.

A variable without a value yet has the status BadWaitingForInitialData. asyncua notifies with the
default trigger (StatusValue) only when value or status differ, so a client that wants rows with
an unchanged value too asks for the trigger StatusValueTimestamp.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.server import monitored_item_service
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.monitored_item_service import MonitoredItemValues
from asyncua.server.server import Server
from asyncua.ua.status_codes import StatusCodes

from connectors.simulators.config import OpcUaAsset, OpcUaSimulator
from connectors.simulators.duration import SECOND, now
from connectors.simulators.faults import Sample
from connectors.simulators.journal import Journal
from connectors.simulators.player import Row, Speaker

NAMESPACE = "urn:plantstream:simulator"
_TYPES = {
    "double": ua.VariantType.Double, "float": ua.VariantType.Float,
    "int16": ua.VariantType.Int16, "int32": ua.VariantType.Int32, "int64": ua.VariantType.Int64,
    "uint16": ua.VariantType.UInt16, "uint32": ua.VariantType.UInt32,
    "uint64": ua.VariantType.UInt64, "boolean": ua.VariantType.Boolean,
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: How often the queues are looked at while a client is behind, seconds.
_LOOK = 0.005


class _Kept(MonitoredItemValues):
    """The last two values of a monitored item, without asyncua's deep copy of every scalar.

    The copy takes two thirds of the server's time; nobody changes a scalar in place.
    """

    def set_current_datavalue(self, cur_val: ua.DataValue) -> None:
        value = cur_val.Value.Value if cur_val.Value is not None else None
        if isinstance(value, list) or dataclasses.is_dataclass(value):
            super().set_current_datavalue(cur_val)
            return
        self.old_dvalue, self.current_dvalue = self.current_dvalue, cur_val


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _node(text: str, index: int) -> ua.NodeId:
    return ua.NodeId(ua.String(text), ua.Int16(index))


def _code(name: str) -> ua.StatusCode:
    return ua.StatusCode(ua.UInt32(getattr(StatusCodes, name)))


@dataclasses.dataclass(frozen=True, slots=True)
class _Variable:
    node: ua.NodeId
    type: ua.VariantType

    def variant(self, value: float | int | bool) -> ua.Variant:
        """The value in the variable's type, rounded and kept in range for integers."""
        if self.type is ua.VariantType.Boolean:
            return ua.Variant(bool(value), self.type)
        if self.type is ua.VariantType.Double:
            return ua.Variant(float(value), self.type)
        if self.type is ua.VariantType.Float:
            return ua.Variant(float(np.float32(value)), self.type)
        limits = np.iinfo(self.type.name.lower())
        whole = min(max(round(value), int(limits.min)), int(limits.max))
        return ua.Variant(whole, self.type)


class OpcUaSpeaker(Speaker):
    """The server. ``trace_tags`` are the tags of the recorded asset, if one is played."""

    def __init__(self, simulator: OpcUaSimulator, journal: Journal, trace_tags: list[str]) -> None:
        super().__init__(journal)
        self._simulator = simulator
        self._server = Server()
        self._variables: dict[tuple[str, str], _Variable] = {}
        self._assets = list(simulator.assets)
        self._trace_tags = trace_tags
        self._patience = simulator.trace.patience if simulator.trace else 10 * SECOND
        self._trace_nodes: set[ua.NodeId] = set()

    async def start(self) -> str:
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        monitored_item_service.MonitoredItemValues = _Kept  # type: ignore[misc]
        server, port = self._server, self._simulator.port or free_port()
        await server.init()
        endpoint = f"opc.tcp://127.0.0.1:{port}/plantstream/"
        server.set_endpoint(endpoint)
        server.set_server_name(self._simulator.name or "Plantstream simulator")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        server.iserver.max_monitored_item_queue_size = self._simulator.max_queue
        index = await server.register_namespace(NAMESPACE)
        if index != 2:
            raise RuntimeError(f"the simulator's namespace has index {index}, not 2")
        trace = self._simulator.trace
        if trace is not None and trace.asset not in {asset.name for asset in self._assets}:
            self._assets.append(OpcUaAsset(name=trace.asset))
        for asset in self._assets:
            played = trace is not None and asset.name == trace.asset
            await self._add(asset, self._trace_tags if played else list(asset.tags), index)
        if trace is not None:
            self._trace_nodes = {self._variables[trace.asset, tag].node for tag in self._trace_tags}
        await server.start()
        return endpoint

    async def _add(self, asset: OpcUaAsset, tags: list[str], index: int) -> None:
        folder = await self._server.nodes.objects.add_folder(
            _node(asset.name, index), ua.QualifiedName(asset.name, index)
        )
        waiting = ua.DataValue(StatusCode=_code("BadWaitingForInitialData"))
        for tag in tags:
            type_ = _TYPES[asset.types.get(tag, "double")]
            node = _node(f"{asset.name}/{tag}", index)
            name = ua.QualifiedName(tag, index)
            zero: float | bool | int = False if type_ is ua.VariantType.Boolean else 0
            variable = await folder.add_variable(node, name, ua.Variant(zero, type_))
            if tag in asset.tags and asset.tags[tag].unit:
                unit = asset.tags[tag].unit
                await variable.add_property(
                    index,
                    "EngineeringUnits",
                    ua.EUInformation(DisplayName=ua.LocalizedText(unit)),
                )
            await self._server.write_attribute_value(node, waiting)
            self._variables[asset.name, tag] = _Variable(node, type_)

    async def send(self, row: Row) -> None:
        if row.held:
            await self._room()
        t = row.t // 1000 * 1000  # a Python datetime carries microseconds
        moment: Any = _EPOCH + timedelta(microseconds=t // 1000)
        carried: list[Sample] = []
        for sample in row.samples:
            variable = self._variables[row.asset, sample.tag]
            variant = None if sample.v is None else variable.variant(sample.v)
            code = _code(sample.status)
            value = ua.DataValue(
                Value=variant, StatusCode=code, SourceTimestamp=moment, ServerTimestamp=None
            )
            await self._server.write_attribute_value(variable.node, value)
            sent = None if variant is None else variant.Value
            carried.append(dataclasses.replace(sample, v=sent))
        self.note(row, t, carried)

    def _subscriptions(self) -> list[InternalSubscription]:
        return list(self._server.iserver.subscription_service.subscriptions.values())

    def _unwatched(self) -> set[ua.NodeId]:
        """The nodes of the recording that no client monitors."""
        seen = {
            item.read_value_id.NodeId
            for subscription in self._subscriptions()
            for item in subscription.monitored_item_srv._monitored_items.values()
            if item.mode is ua.MonitoringMode.Reporting and item.read_value_id is not None
        }
        return self._trace_nodes - seen

    def _has_room(self) -> bool:
        """Whether one more change fits every queue. asyncua drops the oldest of a full one."""
        for subscription in self._subscriptions():
            items = subscription.monitored_item_srv._monitored_items
            for item, queued in subscription._triggered_datachanges.items():
                if item in items and len(queued) >= items[item].queue_size:
                    return False
        return True

    async def _room(self) -> None:
        trace = self._simulator.trace
        if trace is not None and trace.wait_for_client:
            await self._watched()
        if not await self._until(self._has_room):
            self.overrun += 1

    async def _watched(self) -> None:
        """Wait until clients monitor every tag; say once on stderr which lack, when it is long."""
        deadline: int | None = now() + self._patience
        while unwatched := self._unwatched():
            if deadline is not None and now() > deadline:
                names = sorted(str(node.Identifier) for node in unwatched)
                print(f"the recording waits for a client to monitor {names}", file=sys.stderr)
                deadline = None
            await asyncio.sleep(_LOOK)

    async def _until(self, condition: Callable[[], bool]) -> bool:
        deadline = now() + self._patience
        while not condition():
            if now() > deadline:
                return False
            await asyncio.sleep(_LOOK)
        return True

    def _served(self) -> bool:
        return not any(
            subscription._triggered_datachanges or subscription._not_acknowledged_results
            for subscription in self._subscriptions()
        )

    async def drain(self) -> None:
        await self._until(self._served)

    async def stop(self) -> None:
        await self._server.stop()
