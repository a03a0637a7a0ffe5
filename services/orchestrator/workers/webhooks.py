"""Webhooks over the validation service, which alone connects to addresses that users name."""

from __future__ import annotations

from collections.abc import Mapping

from moneyprinter.validation.v1 import validation_service_pb2 as validation
from services.orchestrator.webhooks.deliveries import WebhookResponse
from services.orchestrator.workers.messages import to_seconds
from services.orchestrator.workers.stubs import Stubs


class GrpcWebhooks:
    """Checks the addresses of webhooks and posts to them."""

    def __init__(self, stubs: Stubs) -> None:
        self._validation = stubs.validation

    async def check_address(self, url: str) -> None:
        """Raise `InvalidArgument` when posts to an address are not allowed."""
        await self._validation.CheckAddress(validation.CheckAddressRequest(url=url))

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> WebhookResponse:
        """Post a body to an address. Raises `InvalidArgument` when no response comes."""
        request = validation.PostWebhookRequest(url=url, headers=headers, body=body)
        response = await self._validation.PostWebhook(request)
        return WebhookResponse(response.http_status, to_seconds(response.duration))
