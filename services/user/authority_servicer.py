"""Authority servicer: the edge at which services check the credentials of calls that last."""

from __future__ import annotations

from typing import Any

from moneyprinter.user.v1 import authority_service_pb2 as pb
from moneyprinter.user.v1 import authority_service_pb2_grpc as pb_grpc
from services.user.authority import valid_roles
from services.user.desk import Desk


class AuthorityServicer(pb_grpc.AuthorityServiceServicer):
    """Whether what tokens were made for still stands."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def CheckCredentials(self, request: pb.CheckCredentialsRequest, context: Any) -> pb.CheckCredentialsResponse:
        asked = [(credential.account_id, credential.credential_id) for credential in request.credentials]
        found = await valid_roles(self._desk, asked)
        states = [pb.CredentialState(valid=roles is not None, roles=roles or ()) for roles in found]
        return pb.CheckCredentialsResponse(states=states)
