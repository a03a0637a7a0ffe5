"""The edge of the orchestrator for webhooks: WebhookService."""

from __future__ import annotations

from typing import Any

from moneyprinter.video.v1 import webhook_service_pb2 as pb
from moneyprinter.video.v1 import webhook_service_pb2_grpc as pb_grpc
from services.orchestrator.events.messages import format_timestamp
from services.orchestrator.webhooks.webhooks import Delivery, Webhook, Webhooks
from services.runtime import identity


class WebhookServicer(pb_grpc.WebhookServiceServicer):
    """Serves WebhookService."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def CreateWebhook(self, request: pb.CreateWebhookRequest, context: Any) -> pb.CreateWebhookResponse:
        webhook, secret = await self._webhooks.create(identity.user().id, request.url, request.event_types)
        await context.send_initial_metadata((("x-http-code", "201"),))
        return pb.CreateWebhookResponse(webhook=_webhook_message(webhook), secret=secret)

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, context: Any) -> pb.ListWebhooksResponse:
        found, next_page = await self._webhooks.list_webhooks(identity.user().id, request.page_size, request.page_token)
        return pb.ListWebhooksResponse(webhooks=map(_webhook_message, found), next_page_token=next_page)

    async def GetWebhook(self, request: pb.GetWebhookRequest, context: Any) -> pb.GetWebhookResponse:
        webhook = await self._webhooks.find(identity.user().id, request.webhook_id)
        return pb.GetWebhookResponse(webhook=_webhook_message(webhook))

    async def DeleteWebhook(self, request: pb.DeleteWebhookRequest, context: Any) -> pb.DeleteWebhookResponse:
        await self._webhooks.delete(identity.user().id, request.webhook_id)
        return pb.DeleteWebhookResponse()

    async def RotateWebhookSecret(
        self, request: pb.RotateWebhookSecretRequest, context: Any
    ) -> pb.RotateWebhookSecretResponse:
        webhook, secret = await self._webhooks.rotate_secret(identity.user().id, request.webhook_id)
        return pb.RotateWebhookSecretResponse(webhook=_webhook_message(webhook), secret=secret)

    async def ListWebhookDeliveries(
        self, request: pb.ListWebhookDeliveriesRequest, context: Any
    ) -> pb.ListWebhookDeliveriesResponse:
        found, next_page = await self._webhooks.list_deliveries(
            identity.user().id, request.page_size, request.page_token, request.webhook_id, request.status
        )
        deliveries = [_delivery_message(delivery, whole=False) for delivery in found]
        return pb.ListWebhookDeliveriesResponse(deliveries=deliveries, next_page_token=next_page)

    async def GetWebhookDelivery(
        self, request: pb.GetWebhookDeliveryRequest, context: Any
    ) -> pb.GetWebhookDeliveryResponse:
        delivery = await self._webhooks.find_delivery(identity.user().id, request.delivery_id)
        return pb.GetWebhookDeliveryResponse(delivery=_delivery_message(delivery))

    async def ReplayWebhookDelivery(
        self, request: pb.ReplayWebhookDeliveryRequest, context: Any
    ) -> pb.ReplayWebhookDeliveryResponse:
        delivery = await self._webhooks.replay(identity.user().id, request.delivery_id)
        return pb.ReplayWebhookDeliveryResponse(delivery=_delivery_message(delivery))


def _webhook_message(webhook: Webhook) -> pb.Webhook:
    return pb.Webhook(
        webhook_id=webhook.id,
        url=webhook.url,
        event_types=webhook.event_types,
        create_time=format_timestamp(webhook.create_time),
        disable_time=format_timestamp(webhook.disable_time) if webhook.disable_time else "",
    )


def _delivery_message(delivery: Delivery, *, whole: bool = True) -> pb.WebhookDelivery:
    return pb.WebhookDelivery(
        delivery_id=delivery.id,
        webhook_id=delivery.webhook_id,
        url=delivery.url,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        job_id=delivery.job_id,
        status=delivery.status,
        create_time=format_timestamp(delivery.create_time),
        next_time=format_timestamp(delivery.due_time) if delivery.status == "pending" else "",
        attempt_count=delivery.attempt_count,
        attempts=[
            pb.DeliveryAttempt(
                time=format_timestamp(attempt.time),
                http_status=attempt.http_status,
                error=attempt.error,
                seconds=attempt.seconds,
            )
            for attempt in (delivery.history if whole else ())
        ],
        body=delivery.body if whole else "",
    )
