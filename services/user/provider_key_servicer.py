"""Provider key servicer: ProviderKeyService, with which users set and remove their keys at external providers."""

from __future__ import annotations

from typing import Any

from moneyprinter.user.v1 import provider_key_service_pb2 as pb
from moneyprinter.user.v1 import provider_key_service_pb2_grpc as pb_grpc
from services.user.messages import read_actor
from services.user.provider_keys.lifecycle import ProviderKey, ProviderKeys


class ProviderKeyServicer(pb_grpc.ProviderKeyServiceServicer):
    """Implements ProviderKeyService."""

    def __init__(self, keys: ProviderKeys) -> None:
        self._keys = keys

    async def SetProviderKey(self, request: pb.SetProviderKeyRequest, context: Any) -> pb.SetProviderKeyResponse:
        await self._keys.set_key(read_actor(context), ProviderKey(request.provider, request.key, request.region))
        return pb.SetProviderKeyResponse()

    async def DeleteProviderKey(
        self, request: pb.DeleteProviderKeyRequest, context: Any
    ) -> pb.DeleteProviderKeyResponse:
        await self._keys.delete_key(read_actor(context), request.provider)
        return pb.DeleteProviderKeyResponse()
