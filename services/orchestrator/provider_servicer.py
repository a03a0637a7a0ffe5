"""The edge of the orchestrator for the providers of an account: ProviderService."""

from __future__ import annotations

from typing import Any

from moneyprinter.errors import NotFound
from moneyprinter.video.v1 import provider_service_pb2 as pb
from moneyprinter.video.v1 import provider_service_pb2_grpc as pb_grpc
from services.orchestrator.workers.accounts import GrpcAccounts
from services.runtime import identity

# The value of `ProviderState.key` for a key of the account.
_OWN = "account"


class ProviderServicer(pb_grpc.ProviderServiceServicer):
    """Serves ProviderService."""

    def __init__(self, accounts: GrpcAccounts) -> None:
        self._accounts = accounts

    async def ListProviders(self, request: pb.ListProvidersRequest, context: Any) -> pb.ListProvidersResponse:
        return pb.ListProvidersResponse(providers=await self._accounts.list_providers(identity.user().id))

    async def CheckProvider(self, request: pb.CheckProviderRequest, context: Any) -> pb.CheckProviderResponse:
        """Check a key of the caller. Raises `NotFound` (PROVIDER_KEY_NOT_FOUND) when there is none."""
        states = await self._accounts.list_providers(identity.user().id, request.provider)
        found = [state for state in states if state.provider == request.provider and state.key == _OWN]
        if not found:
            raise NotFound(f"you have no key for {request.provider}", reason="PROVIDER_KEY_NOT_FOUND")
        return pb.CheckProviderResponse(providers=found)
