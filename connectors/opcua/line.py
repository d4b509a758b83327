"""One connection to an OPC UA server: session, subscription, monitored items, signs of life.

asyncua's own reconnection is not used: it leaves items that did not come back to a line of log.
A line that is lost is closed, and the runner opens another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua import uaerrors
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from connectors.base import Counters
from connectors.opcua.parameters import OpcUaItem, OpcUaParameters
from connectors.opcua.wire import Change, NotificationMessage, PublishResponse
from connectors.opcua.wire import read_publish_response as read_response
from models.errors import SourceRefused, SourceUnavailable

log = logging.getLogger("plantstream.opcua")

_NS = 1_000_000_000
_NS_PER_MS = 1_000_000
#: Items in one CreateMonitoredItems request.
_AT_ONCE = 500
#: Client handle of the server's clock, whose ticks show that the subscription works.
_CLOCK = 0
_CLOCK_MS = 1000.0
#: A sequence number further ahead than this is no gap but a server that counts otherwise.
_PLAUSIBLE_GAP = 10_000
_REFUSALS = (
    uaerrors.BadUserAccessDenied,
    uaerrors.BadIdentityTokenInvalid,
    uaerrors.BadIdentityTokenRejected,
    uaerrors.BadSecurityChecksFailed,
    uaerrors.BadSecurityPolicyRejected,
    uaerrors.BadSecurityModeRejected,
    uaerrors.BadCertificateUntrusted,
    uaerrors.BadCertificateInvalid,
)


class Line:
    """A session with one subscription. ``lost`` says why it is over, empty while it works."""

    def __init__(
        self,
        parameters: OpcUaParameters,
        name: str,
        counters: Counters,
        on_changes: Callable[[Sequence[Change]], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._parameters = parameters
        self._name = name
        self._counters = counters
        self._on_changes = on_changes
        self._on_lost = on_lost
        self.lost = ""
        #: Names of the status codes with which the server refused items, by client handle.
        self.refused: dict[int, str] = {}
        self._client: Client | None = None
        self._subscription = 0
        self._sequence = 0
        self._heard = self._ticked = time.monotonic_ns()
        self._clock_runs = False
        self._retrying: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and subscribe. Raises SourceUnavailable or SourceRefused."""
        # what asyncua writes as tracebacks is reported by us, in a line
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        where = f"OPC UA server {self._parameters.endpoint}"
        try:
            async with asyncio.timeout(4 * self._parameters.timeout / _NS):
                await self._start()
        except _REFUSALS as error:
            raise SourceRefused(f"{where}: {_reason(error)}") from error
        except (OSError, TimeoutError, uaerrors.UaError, asyncio.IncompleteReadError) as error:
            raise SourceUnavailable(f"{where}: {_reason(error)}") from error
        self._retrying = asyncio.create_task(self._retry())

    async def _start(self) -> None:
        parameters = self._parameters
        client = self._client = Client(
            parameters.endpoint, timeout=parameters.timeout / _NS, watchdog_intervall=5.0
        )
        client.name = client.description = f"Plantstream {self._name}"
        client.session_timeout = parameters.session_timeout // _NS_PER_MS
        client.connection_lost_callback = self._connection_lost
        await client.connect()
        session: Any = client.uaclient.session
        session.publish = self._publish_with(session)
        interval = max(parameters.publishing_interval, _NS_PER_MS)
        keepalive = max(1, parameters.silence // 3 // interval)
        subscription = await session.create_subscription(
            ua.CreateSubscriptionParameters(
                RequestedPublishingInterval=parameters.publishing_interval / _NS_PER_MS,
                RequestedLifetimeCount=max(3 * keepalive, parameters.session_timeout // interval),
                RequestedMaxKeepAliveCount=keepalive,
                MaxNotificationsPerPublish=0,
                PublishingEnabled=True,
                Priority=0,
            ),
            self._published,
        )
        self._subscription = subscription.SubscriptionId
        self._heard = self._ticked = time.monotonic_ns()
        clock = ua.NodeId(ua.Int32(ObjectIds.Server_ServerStatus_CurrentTime))
        refused = await self._monitor({_CLOCK: (clock, _CLOCK_MS, 1)})
        self._clock_runs = not refused
        await self._monitor_items(range(1, len(parameters.items) + 1))

    async def _monitor_items(self, handles: Sequence[int]) -> None:
        parameters = self._parameters
        sampling = parameters.sampling_interval / _NS_PER_MS
        for begin in range(0, len(handles), _AT_ONCE):
            part = handles[begin : begin + _AT_ONCE]
            nodes = {
                handle: (_node_of(self.item(handle)), sampling, parameters.queue_size)
                for handle in part
            }
            refused = await self._monitor(nodes)
            for handle in part:
                self._note(handle, refused.get(handle))

    def _note(self, handle: int, refusal: str | None) -> None:
        item = self.item(handle)
        if refusal is None:
            if self.refused.pop(handle, None):
                log.info("%s: node %s is monitored now", self._name, item.node)
            return
        self._counters.error("item-refused")
        if self.refused.get(handle) != refusal:
            log.warning("%s: the server refuses node %s: %s", self._name, item.node, refusal)
        self.refused[handle] = refusal

    async def _monitor(self, nodes: dict[int, tuple[ua.NodeId, float, int]]) -> dict[int, str]:
        """Create monitored items by client handle; the refused ones with the status' name."""
        assert self._client is not None
        requests = [
            ua.MonitoredItemCreateRequest(
                ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value),
                MonitoringMode=ua.MonitoringMode.Reporting,
                RequestedParameters=ua.MonitoringParameters(
                    ClientHandle=handle,
                    SamplingInterval=sampling,
                    QueueSize=queue,
                    DiscardOldest=True,
                    Filter=ua.DataChangeFilter(
                        Trigger=ua.DataChangeTrigger.StatusValueTimestamp, DeadbandType=0
                    ),
                ),
            )
            for handle, (node, sampling, queue) in nodes.items()
        ]
        results = await self._client.uaclient.session.create_monitored_items(
            ua.CreateMonitoredItemsParameters(
                SubscriptionId=self._subscription,
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                ItemsToCreate=requests,
            )
        )
        return {
            handle: result.StatusCode.name
            for handle, result in zip(nodes, results, strict=True)
            if not result.StatusCode.is_good()
        }

    def item(self, handle: int) -> OpcUaItem:
        """The item of a client handle (from 1)."""
        return self._parameters.items[handle - 1]

    def _publish_with(self, session: Any) -> Callable[[Any], Awaitable[PublishResponse]]:
        """What takes the place of the session's ``publish``: the same request, our reading."""

        async def publish(acknowledgements: Any) -> PublishResponse:
            request = ua.PublishRequest()
            request.Parameters.SubscriptionAcknowledgements = acknowledgements or []
            data = await session._send_request(request, timeout=0)
            try:
                return read_response(data)
            except uaerrors.UaStatusCodeError:
                raise
            except Exception as error:
                # the next message's sequence number shows what was in it: one message
                self._counters.error("unreadable-notification")
                log.warning("%s: unreadable notification: %r", self._name, error)
                raise uaerrors.UaStructParsingError from error

        return publish

    def _published(self, result: Any) -> None:
        """asyncua's publish loop calls this with each publish response."""
        message = result.NotificationMessage
        if not isinstance(message, NotificationMessage):
            # asyncua's own message to all subscriptions that the connection is lost
            self._lose("the server closed the connection")
            return
        self._heard = time.monotonic_ns()
        self._count_gap(message)
        if message.status is not None and message.status & 0x80000000:
            status = ua.StatusCode(ua.UInt32(message.status)).name
            self._lose(f"the server ended the subscription: {status}")
        changes = message.changes
        if any(change[0] == _CLOCK for change in changes):
            self._ticked = self._heard
            changes = [change for change in changes if change[0] != _CLOCK]
        if changes:
            self._on_changes(changes)

    def _count_gap(self, message: NotificationMessage) -> None:
        """Numbers count messages with data; a keep-alive carries the next one (Part 4, 5.14.1)."""
        number = message.SequenceNumber
        missing = (number - self._sequence - 1) % (2**32 - 1)
        if 0 < missing <= _PLAUSIBLE_GAP:
            self._counters.lose("notification-gap", missing)
            log.warning("%s: %d notification messages are missing", self._name, missing)
        if message.NotificationData:
            self._sequence = number
        elif 0 < missing <= _PLAUSIBLE_GAP:
            self._sequence = number - 1

    def check(self) -> None:
        """Raise SourceUnavailable where the line is lost or shows no sign of life."""
        if self.lost:
            raise SourceUnavailable(self.lost)
        now, silence = time.monotonic_ns(), self._parameters.silence
        if now - self._heard > silence:
            raise SourceUnavailable(f"nothing came from the server for {silence / _NS:g} s")
        if self._clock_runs and now - self._ticked > silence:
            raise SourceUnavailable(
                f"the subscription is dead: not even the server's time came for {silence / _NS:g} s"
            )

    async def _connection_lost(self, error: Exception) -> None:
        self._lose(f"the connection is lost: {_reason(error)}")

    def _lose(self, reason: str) -> None:
        self.lost = self.lost or reason
        self._on_lost()

    async def _retry(self) -> None:
        """Try refused items again, for as long as the line lives."""
        while not self.lost:
            await asyncio.sleep(self._parameters.retry_items / _NS)
            if not self.refused:
                continue
            try:
                await self._monitor_items(sorted(self.refused))
            except (OSError, TimeoutError, uaerrors.UaError) as error:
                log.debug("%s: trying refused items again: %r", self._name, error)

    async def stop(self) -> None:
        """Close the session. Never raises, and does not wait for a dead server for long."""
        self.lost = self.lost or "closed"
        if self._retrying is not None:
            self._retrying.cancel()
        client, self._client = self._client, None
        if client is None:
            return
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2.0):
                await client.disconnect()
        with contextlib.suppress(Exception):
            client.disconnect_socket()


def _node_of(item: OpcUaItem) -> ua.NodeId:
    return ua.NodeId.from_string(item.node)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
