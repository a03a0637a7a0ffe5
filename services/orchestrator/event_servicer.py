"""The edge of the orchestrator for programs: EventService and WebhookService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf import json_format

from moneyprinter.errors import InvalidArgument
from moneyprinter.video.v1 import event_service_pb2 as pb
from moneyprinter.video.v1 import event_service_pb2_grpc as pb_grpc
from moneyprinter.video.v1 import webhook_service_pb2 as hooks
from moneyprinter.video.v1 import webhook_service_pb2_grpc as hooks_grpc
from services.orchestrator.events.feed import Feed, Placed
from services.orchestrator.events.messages import timestamp
from services.orchestrator.webhooks.webhooks import Delivery, Webhook, Webhooks
from services.runtime import access
from services.runtime.contract import check
from services.runtime.server import HEAD


class EventServicer(pb_grpc.EventServiceServicer):
    """The events of a user's jobs."""

    def __init__(self, feed: Feed, stopping: asyncio.Event) -> None:
        self._feed = feed
        self._stopping = stopping

    async def WatchEvents(self, request: pb.WatchEventsRequest, context: Any) -> AsyncIterator[pb.WatchEventsResponse]:
        after = request.after or _last_event_id(context)
        await self._feed.check(access.user().id, after)
        # Whoever waits for the first event is told that it may.
        await context.send_initial_metadata(())
        if HEAD in dict(context.invocation_metadata()):
            return
        async with aclosing(self._feed.watch(access.user().id, request.consumer, after, self._stopping)) as events:
            async for event in events:
                yield _event(event)

    async def AcknowledgeEvents(
        self, request: pb.AcknowledgeEventsRequest, context: Any
    ) -> pb.AcknowledgeEventsResponse:
        position = await self._feed.acknowledge(access.user().id, request.consumer, request.position)
        return pb.AcknowledgeEventsResponse(position=str(position))


class WebhookServicer(hooks_grpc.WebhookServiceServicer):
    """The webhooks of a user."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def CreateWebhook(self, request: hooks.CreateWebhookRequest, context: Any) -> hooks.CreateWebhookResponse:
        webhook, secret = await self._webhooks.create(access.user().id, request.url, request.event_types)
        await context.send_initial_metadata((("x-http-code", "201"),))
        return hooks.CreateWebhookResponse(webhook=_webhook(webhook), secret=secret)

    async def ListWebhooks(self, request: hooks.ListWebhooksRequest, context: Any) -> hooks.ListWebhooksResponse:
        found, next_page = await self._webhooks.page(access.user().id, request.page_size, request.page_token)
        return hooks.ListWebhooksResponse(webhooks=map(_webhook, found), next_page_token=next_page)

    async def GetWebhook(self, request: hooks.GetWebhookRequest, context: Any) -> hooks.GetWebhookResponse:
        webhook = await self._webhooks.find(access.user().id, request.webhook_id)
        return hooks.GetWebhookResponse(webhook=_webhook(webhook))

    async def DeleteWebhook(self, request: hooks.DeleteWebhookRequest, context: Any) -> hooks.DeleteWebhookResponse:
        await self._webhooks.delete(access.user().id, request.webhook_id)
        return hooks.DeleteWebhookResponse()

    async def RotateWebhookSecret(
        self, request: hooks.RotateWebhookSecretRequest, context: Any
    ) -> hooks.RotateWebhookSecretResponse:
        webhook, secret = await self._webhooks.rotate(access.user().id, request.webhook_id)
        return hooks.RotateWebhookSecretResponse(webhook=_webhook(webhook), secret=secret)

    async def ListWebhookDeliveries(
        self, request: hooks.ListWebhookDeliveriesRequest, context: Any
    ) -> hooks.ListWebhookDeliveriesResponse:
        found, next_page = await self._webhooks.deliveries(
            access.user().id, request.page_size, request.page_token, request.webhook_id, request.status
        )
        listed = [_delivery(delivery, whole=False) for delivery in found]
        return hooks.ListWebhookDeliveriesResponse(deliveries=listed, next_page_token=next_page)

    async def GetWebhookDelivery(
        self, request: hooks.GetWebhookDeliveryRequest, context: Any
    ) -> hooks.GetWebhookDeliveryResponse:
        delivery = await self._webhooks.delivery(access.user().id, request.delivery_id)
        return hooks.GetWebhookDeliveryResponse(delivery=_delivery(delivery))

    async def ReplayWebhookDelivery(
        self, request: hooks.ReplayWebhookDeliveryRequest, context: Any
    ) -> hooks.ReplayWebhookDeliveryResponse:
        delivery = await self._webhooks.replay(access.user().id, request.delivery_id)
        return hooks.ReplayWebhookDeliveryResponse(delivery=_delivery(delivery))


def _last_event_id(context: Any) -> str:
    """The position that a header names, under the rules of the field; empty: none."""
    given = str(dict(context.invocation_metadata()).get("last-event-id", ""))
    try:
        check(pb.WatchEventsRequest(after=given))
    except InvalidArgument:
        raise InvalidArgument("last-event-id: is no position that an event had", reason="REQUEST_INVALID") from None
    return given


def _event(event: Placed | None) -> pb.WatchEventsResponse:
    if event is None:
        return pb.WatchEventsResponse()
    told = pb.WatchEventsResponse(position=str(event.position), event_id=event.id, sequence=event.sequence)
    return json_format.ParseDict(dict(event.envelope), told)


def _webhook(webhook: Webhook) -> hooks.Webhook:
    return hooks.Webhook(
        webhook_id=webhook.id,
        url=webhook.url,
        event_types=webhook.event_types,
        create_time=timestamp(webhook.create_time),
        disable_time=timestamp(webhook.disable_time) if webhook.disable_time else "",
    )


def _delivery(delivery: Delivery, *, whole: bool = True) -> hooks.WebhookDelivery:
    return hooks.WebhookDelivery(
        delivery_id=delivery.id,
        webhook_id=delivery.webhook_id,
        url=delivery.url,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        job_id=delivery.job_id,
        status=delivery.status,
        create_time=timestamp(delivery.create_time),
        next_time=timestamp(delivery.due_time) if delivery.status == "pending" else "",
        tries=delivery.tries,
        history=[
            hooks.WebhookTry(
                time=timestamp(tried.time), http_status=tried.http_status, error=tried.error, seconds=tried.seconds
            )
            for tried in (delivery.history if whole else ())
        ],
        body=delivery.body if whole else "",
    )
