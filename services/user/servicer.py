"""Servicer: the edge of the user service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moneyprinter.user.v1 import user_service_pb2 as pb
from moneyprinter.user.v1 import user_service_pb2_grpc as pb_grpc
from services.user import sessions


class UserServicer(pb_grpc.UserServiceServicer):
    """Sign-in, tokens and the keys that they are checked with."""

    def __init__(self, desk: sessions.Desk, public_key: Mapping[str, str]) -> None:
        self._desk = desk
        self._public_key = public_key

    async def SignIn(self, request: pb.SignInRequest, context: Any) -> pb.SignInResponse:
        session = await sessions.sign_in(self._desk, request.username, request.password)
        return pb.SignInResponse(**_fields(session))

    async def RefreshToken(self, request: pb.RefreshTokenRequest, context: Any) -> pb.RefreshTokenResponse:
        session = await sessions.refresh(self._desk, request.refresh_token)
        return pb.RefreshTokenResponse(**_fields(session))

    async def ListSigningKeys(self, request: pb.ListSigningKeysRequest, context: Any) -> pb.ListSigningKeysResponse:
        return pb.ListSigningKeysResponse(keys=[pb.SigningKey(**self._public_key)])


def _fields(session: sessions.Session) -> dict[str, Any]:
    return {
        "access_token": session.access_token,
        "token_type": "Bearer",
        "expires_in": int(session.access_life.total_seconds()),
        "refresh_token": session.refresh_token,
    }
