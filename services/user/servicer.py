"""Servicer: UserService, which signs users in, registers them, and publishes the keys that verify tokens."""

from __future__ import annotations

from typing import Any

from moneyprinter.user.v1 import user_service_pb2 as pb
from moneyprinter.user.v1 import user_service_pb2_grpc as pb_grpc
from services.user.accounts.model import Profile
from services.user.accounts.password_reset import set_password
from services.user.accounts.registration import RegistrationRequest, register_account
from services.user.api_keys.exchange import exchange_api_key
from services.user.authentication.reauthentication import SecondFactorCode
from services.user.context import Context
from services.user.messages import (
    CREATED,
    account_message,
    read_client,
)
from services.user.sessions.lifecycle import refresh_tokens, sign_out
from services.user.sessions.model import IssuedTokens
from services.user.sessions.sign_in import Credentials, sign_in
from services.user.tokens.access_tokens import JwtTokens


class UserServicer(pb_grpc.UserServiceServicer):
    """Implements UserService."""

    def __init__(self, context: Context, tokens: JwtTokens) -> None:
        self._context = context
        self._tokens = tokens

    async def SignIn(self, request: pb.SignInRequest, context: Any) -> pb.SignInResponse:
        code = SecondFactorCode(request.totp_code, request.recovery_code)
        credentials = Credentials(request.username, request.password, code)
        return pb.SignInResponse(**_token_fields(await sign_in(self._context, credentials, read_client(context))))

    async def RefreshToken(self, request: pb.RefreshTokenRequest, context: Any) -> pb.RefreshTokenResponse:
        tokens = await refresh_tokens(self._context, request.refresh_token, read_client(context))
        return pb.RefreshTokenResponse(**_token_fields(tokens))

    async def SignOut(self, request: pb.SignOutRequest, context: Any) -> pb.SignOutResponse:
        await sign_out(self._context, request.refresh_token, read_client(context))
        return pb.SignOutResponse()

    async def ExchangeApiKey(self, request: pb.ExchangeApiKeyRequest, context: Any) -> pb.ExchangeApiKeyResponse:
        tokens = await exchange_api_key(self._context, request.api_key, read_client(context))
        return pb.ExchangeApiKeyResponse(**_access_token_fields(tokens))

    async def Register(self, request: pb.RegisterRequest, context: Any) -> pb.RegisterResponse:
        registration = RegistrationRequest(
            username=request.username,
            password=request.password,
            invitation_token=request.invitation_token,
            profile=Profile(request.display_name, request.email, request.locale),
        )
        account = await register_account(self._context, registration, read_client(context))
        await context.send_initial_metadata(CREATED)
        return pb.RegisterResponse(account=account_message(account))

    async def SetPassword(self, request: pb.SetPasswordRequest, context: Any) -> pb.SetPasswordResponse:
        client = read_client(context)
        await set_password(self._context, request.reset_token, request.new_password, client)
        return pb.SetPasswordResponse()

    async def ListSigningKeys(self, request: pb.ListSigningKeysRequest, context: Any) -> pb.ListSigningKeysResponse:
        keys = self._tokens.public_keys(self._context.now())
        return pb.ListSigningKeysResponse(keys=[pb.SigningKey(**key) for key in keys])


def _access_token_fields(tokens: IssuedTokens) -> dict[str, Any]:
    return {
        "access_token": tokens.access_token,
        "token_type": "Bearer",
        "expires_in": int(tokens.access_lifetime.total_seconds()),
    }


def _token_fields(tokens: IssuedTokens) -> dict[str, Any]:
    return {**_access_token_fields(tokens), "refresh_token": tokens.refresh_token}
