"""Authority servicer: AuthorityService, with which services check the credentials of long-lasting calls."""

from __future__ import annotations

from typing import Any

from moneyprinter.user.v1 import authority_service_pb2 as pb
from moneyprinter.user.v1 import authority_service_pb2_grpc as pb_grpc
from services.user.context import Context
from services.user.tokens.authority import find_valid_roles


class AuthorityServicer(pb_grpc.AuthorityServiceServicer):
    """Implements AuthorityService."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def CheckCredentials(self, request: pb.CheckCredentialsRequest, context: Any) -> pb.CheckCredentialsResponse:
        credentials = [(credential.account_id, credential.credential_id) for credential in request.credentials]
        roles_by_credential = await find_valid_roles(self._context, credentials)
        states = [pb.CredentialState(valid=roles is not None, roles=roles or ()) for roles in roles_by_credential]
        return pb.CheckCredentialsResponse(states=states)
