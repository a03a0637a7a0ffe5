"""Account servicer: AccountService, with which users manage their own account."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from moneyprinter.user.v1 import account_service_pb2 as own
from moneyprinter.user.v1 import (
    account_service_pb2_grpc,
)
from services.user.accounts.profile import ProfileChanges, change_password, close_account, get_profile, update_profile
from services.user.api_keys.lifecycle import ApiKeyRequest, create_api_key, list_api_keys, revoke_api_key
from services.user.api_keys.model import ApiKey
from services.user.audit.audit_log import AuditLog
from services.user.audit.model import Record
from services.user.audit.security_events import list_security_events
from services.user.authentication.reauthentication import SecondFactorCode, step_up
from services.user.context import Actor, Context
from services.user.messages import (
    CREATED,
    account_message,
    optional_duration,
    read_actor,
    to_timestamp,
)
from services.user.mfa.enrollment import confirm_totp, disable_totp, enroll_totp
from services.user.sessions.lifecycle import end_session, end_sessions, list_sessions
from services.user.sessions.model import Session


class AccountServicer(account_service_pb2_grpc.AccountServiceServicer):
    """Implements AccountService."""

    def __init__(self, context: Context, audit_log: AuditLog) -> None:
        self._context = context
        self._audit_log = audit_log

    async def StepUp(self, request: own.StepUpRequest, context: Any) -> own.StepUpResponse:
        code = SecondFactorCode(request.totp_code, request.recovery_code)
        expire_time = await step_up(self._context, read_actor(context), request.password, code)
        return own.StepUpResponse(expire_time=to_timestamp(expire_time))

    async def ListSecurityEvents(
        self, request: own.ListSecurityEventsRequest, context: Any
    ) -> own.ListSecurityEventsResponse:
        size, token = request.page_size, request.page_token
        records, next_token = await list_security_events(
            self._context, self._audit_log, read_actor(context), size, token
        )
        return own.ListSecurityEventsResponse(events=map(_security_event_message, records), next_page_token=next_token)

    async def GetProfile(self, request: own.GetProfileRequest, context: Any) -> own.GetProfileResponse:
        return own.GetProfileResponse(account=account_message(await get_profile(self._context, read_actor(context))))

    async def UpdateProfile(self, request: own.UpdateProfileRequest, context: Any) -> own.UpdateProfileResponse:
        changes = ProfileChanges(
            display_name=_optional_string(request, "display_name"),
            email=_optional_string(request, "email"),
            locale=_optional_string(request, "locale"),
        )
        account = await update_profile(self._context, read_actor(context), changes)
        return own.UpdateProfileResponse(account=account_message(account))

    async def ChangePassword(self, request: own.ChangePasswordRequest, context: Any) -> own.ChangePasswordResponse:
        actor = read_actor(context)
        await change_password(self._context, actor, request.old_password, request.new_password)
        return own.ChangePasswordResponse()

    async def CloseAccount(self, request: own.CloseAccountRequest, context: Any) -> own.CloseAccountResponse:
        await close_account(self._context, read_actor(context), request.password)
        return own.CloseAccountResponse()

    async def ListSessions(self, request: own.ListSessionsRequest, context: Any) -> own.ListSessionsResponse:
        actor = read_actor(context)
        sessions = await list_sessions(self._context, actor)
        return own.ListSessionsResponse(sessions=[_session_message(session, actor) for session in sessions])

    async def EndSession(self, request: own.EndSessionRequest, context: Any) -> own.EndSessionResponse:
        await end_session(self._context, read_actor(context), request.session_id)
        return own.EndSessionResponse()

    async def EndSessions(self, request: own.EndSessionsRequest, context: Any) -> own.EndSessionsResponse:
        count = await end_sessions(self._context, read_actor(context), request.keep_current)
        return own.EndSessionsResponse(ended_count=count)

    async def EnrollTotp(self, request: own.EnrollTotpRequest, context: Any) -> own.EnrollTotpResponse:
        enrollment = await enroll_totp(self._context, read_actor(context), request.password)
        return own.EnrollTotpResponse(secret=enrollment.secret, otpauth_uri=enrollment.uri)

    async def ConfirmTotp(self, request: own.ConfirmTotpRequest, context: Any) -> own.ConfirmTotpResponse:
        codes = await confirm_totp(self._context, read_actor(context), request.totp_code)
        return own.ConfirmTotpResponse(recovery_codes=codes)

    async def DisableTotp(self, request: own.DisableTotpRequest, context: Any) -> own.DisableTotpResponse:
        code = SecondFactorCode(request.totp_code, request.recovery_code)
        await disable_totp(self._context, read_actor(context), request.password, code)
        return own.DisableTotpResponse()

    async def CreateApiKey(self, request: own.CreateApiKeyRequest, context: Any) -> own.CreateApiKeyResponse:
        key_request = ApiKeyRequest(request.display_name, tuple(request.roles), optional_duration(request, "valid_for"))
        api_key, key = await create_api_key(self._context, read_actor(context), key_request)
        await context.send_initial_metadata(CREATED)
        return own.CreateApiKeyResponse(api_key=api_key, key=_api_key_message(key))

    async def ListApiKeys(self, request: own.ListApiKeysRequest, context: Any) -> own.ListApiKeysResponse:
        keys = await list_api_keys(self._context, read_actor(context))
        return own.ListApiKeysResponse(keys=[_api_key_message(key) for key in keys])

    async def RevokeApiKey(self, request: own.RevokeApiKeyRequest, context: Any) -> own.RevokeApiKeyResponse:
        await revoke_api_key(self._context, read_actor(context), request.key_id)
        return own.RevokeApiKeyResponse()


def _security_event_message(record: Record) -> own.SecurityEvent:
    event = record.event
    return own.SecurityEvent(
        time=to_timestamp(event.time),
        action=event.action,
        result=event.result,
        actor=event.actor,
        credential=event.credential,
        target=event.target,
        address=event.address,
        details=event.details,
    )


def _session_message(session: Session, actor: Actor) -> own.Session:
    return own.Session(
        session_id=session.id,
        create_time=to_timestamp(session.create_time),
        last_use_time=to_timestamp(session.use_time),
        address=session.client.address,
        user_agent=session.client.user_agent,
        current=session.id == actor.session_id,
    )


def _api_key_message(key: ApiKey) -> own.ApiKey:
    return own.ApiKey(
        key_id=key.id,
        display_name=key.display_name,
        roles=key.roles,
        create_time=to_timestamp(key.create_time),
        expire_time=to_timestamp(key.expire_time),
        last_use_time=to_timestamp(key.use_time),
        last_use_address=key.use_address,
        revoke_time=to_timestamp(key.revoke_time),
    )


def _optional_string(request: Message, field: str) -> str | None:
    return str(getattr(request, field)) if request.HasField(field) else None
