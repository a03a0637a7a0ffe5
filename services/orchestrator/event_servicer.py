"""The edge of the orchestrator for clients that follow events: EventService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf import json_format

from moneyprinter.errors import InvalidArgument
from moneyprinter.video.v1 import event_service_pb2 as pb
from moneyprinter.video.v1 import event_service_pb2_grpc as pb_grpc
from services.orchestrator.events.feed import Feed, FeedEvent
from services.runtime import identity
from services.runtime.interceptor import HEAD
from services.runtime.request_checks import check_message


class EventServicer(pb_grpc.EventServiceServicer):
    """Serves EventService."""

    def __init__(self, feed: Feed, stopping: asyncio.Event) -> None:
        self._feed = feed
        self._stopping = stopping

    async def WatchEvents(self, request: pb.WatchEventsRequest, context: Any) -> AsyncIterator[pb.WatchEventsResponse]:
        after = request.after or _last_event_id(context)
        await self._feed.check(identity.user().id, after)
        # The client learns that the stream is open before the first event comes.
        await context.send_initial_metadata(())
        if HEAD in dict(context.invocation_metadata()):
            return
        async with aclosing(self._feed.watch(identity.user().id, request.consumer, after, self._stopping)) as events:
            async for event in events:
                yield _event(event)

    async def AcknowledgeEvents(
        self, request: pb.AcknowledgeEventsRequest, context: Any
    ) -> pb.AcknowledgeEventsResponse:
        position = await self._feed.acknowledge(identity.user().id, request.consumer, request.position)
        return pb.AcknowledgeEventsResponse(position=str(position))


def _last_event_id(context: Any) -> str:
    """Return the `last-event-id` header, checked by the rules of the field; empty when there is none."""
    given = str(dict(context.invocation_metadata()).get("last-event-id", ""))
    try:
        check_message(pb.WatchEventsRequest(after=given))
    except InvalidArgument:
        raise InvalidArgument("last-event-id: is no position that an event had", reason="REQUEST_INVALID") from None
    return given


def _event(event: FeedEvent | None) -> pb.WatchEventsResponse:
    if event is None:
        return pb.WatchEventsResponse()
    response = pb.WatchEventsResponse(position=str(event.position), event_id=event.id, sequence=event.sequence)
    return json_format.ParseDict(dict(event.envelope), response)
