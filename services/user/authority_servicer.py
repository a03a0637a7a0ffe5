"""Authority servicer: AuthorityService, with which services check credentials and read the keys of accounts."""

from __future__ import annotations

from typing import Any

from moneyprinter.user.v1 import authority_service_pb2 as pb
from moneyprinter.user.v1 import authority_service_pb2_grpc as pb_grpc
from services.user.context import Context
from services.user.provider_keys.lifecycle import ProviderKeys
from services.user.tokens.authority import find_valid_roles


class AuthorityServicer(pb_grpc.AuthorityServiceServicer):
    """Implements AuthorityService."""

    def __init__(self, context: Context, provider_keys: ProviderKeys) -> None:
        self._context = context
        self._provider_keys = provider_keys

    async def CheckCredentials(self, request: pb.CheckCredentialsRequest, context: Any) -> pb.CheckCredentialsResponse:
        credentials = [(credential.account_id, credential.credential_id) for credential in request.credentials]
        roles_by_credential = await find_valid_roles(self._context, credentials)
        states = [pb.CredentialState(valid=roles is not None, roles=roles or ()) for roles in roles_by_credential]
        return pb.CheckCredentialsResponse(states=states)

    async def GetProviderKeys(self, request: pb.GetProviderKeysRequest, context: Any) -> pb.GetProviderKeysResponse:
        keys = await self._provider_keys.reveal_keys(request.account_id)
        return pb.GetProviderKeysResponse(
            keys=[pb.ProviderKey(provider=key.provider, key=key.key, region=key.region) for key in keys]
        )

    async def CheckAccount(self, request: pb.CheckAccountRequest, context: Any) -> pb.CheckAccountResponse:
        return pb.CheckAccountResponse(exists=await self._context.store.accounts.find(request.account_id) is not None)
