"""Servicer: the edge of the user service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from moneyprinter.errors import PermissionDenied
from moneyprinter.user.v1 import (
    account_pb2,
    account_service_pb2_grpc,
    administration_service_pb2_grpc,
    audit_service_pb2_grpc,
)
from moneyprinter.user.v1 import account_service_pb2 as own
from moneyprinter.user.v1 import administration_service_pb2 as admin
from moneyprinter.user.v1 import audit_service_pb2 as audit
from moneyprinter.user.v1 import user_service_pb2 as pb
from moneyprinter.user.v1 import user_service_pb2_grpc as pb_grpc
from services.runtime import access
from services.runtime.contract import moment
from services.user import (
    administration,
    api_keys,
    audit_policy,
    mfa,
    profile,
    proof,
    registration,
    security_events,
    sessions,
    signing_keys,
)
from services.user.accounts import Account, Profile
from services.user.desk import Actor, Desk
from services.user.pages import Wanted
from services.user.proof import Code
from services.user.sessions import Credentials, Tokens
from services.user.signing_keys import KeyRing
from services.user.store import ApiKey, Client, Invitation, Session
from services.user.tokens import JwtTokens
from services.user.trail import Event, Filter, Head, Record, Trail

log = structlog.get_logger()

AGENT_MAX = 256
CREATED = (("x-http-code", "201"),)


class UserServicer(pb_grpc.UserServiceServicer):
    """Sign-in, registration, tokens and the keys that they are checked with."""

    def __init__(self, desk: Desk, tokens: JwtTokens) -> None:
        self._desk = desk
        self._tokens = tokens

    async def SignIn(self, request: pb.SignInRequest, context: Any) -> pb.SignInResponse:
        code = Code(request.totp_code, request.recovery_code)
        credentials = Credentials(request.username, request.password, code)
        return pb.SignInResponse(**_tokens(await sessions.sign_in(self._desk, credentials, client_of(context))))

    async def RefreshToken(self, request: pb.RefreshTokenRequest, context: Any) -> pb.RefreshTokenResponse:
        tokens = await sessions.refresh(self._desk, request.refresh_token, client_of(context))
        return pb.RefreshTokenResponse(**_tokens(tokens))

    async def SignOut(self, request: pb.SignOutRequest, context: Any) -> pb.SignOutResponse:
        await sessions.sign_out(self._desk, request.refresh_token, client_of(context))
        return pb.SignOutResponse()

    async def ExchangeApiKey(self, request: pb.ExchangeApiKeyRequest, context: Any) -> pb.ExchangeApiKeyResponse:
        tokens = await api_keys.exchange(self._desk, request.api_key, client_of(context))
        return pb.ExchangeApiKeyResponse(**_access(tokens))

    async def Register(self, request: pb.RegisterRequest, context: Any) -> pb.RegisterResponse:
        wish = registration.Wish(
            username=request.username,
            password=request.password,
            invitation_token=request.invitation_token,
            profile=Profile(request.display_name, request.email, request.locale),
        )
        account = await registration.register(self._desk, wish, client_of(context))
        await context.send_initial_metadata(CREATED)
        return pb.RegisterResponse(account=_account(account))

    async def SetPassword(self, request: pb.SetPasswordRequest, context: Any) -> pb.SetPasswordResponse:
        client = client_of(context)
        await registration.set_password(self._desk, request.reset_token, request.new_password, client)
        return pb.SetPasswordResponse()

    async def ListSigningKeys(self, request: pb.ListSigningKeysRequest, context: Any) -> pb.ListSigningKeysResponse:
        keys = self._tokens.listed(self._desk.now())
        return pb.ListSigningKeysResponse(keys=[pb.SigningKey(**key) for key in keys])


class AccountServicer(account_service_pb2_grpc.AccountServiceServicer):
    """One's own account."""

    def __init__(self, desk: Desk, trail: Trail) -> None:
        self._desk = desk
        self._trail = trail

    async def StepUp(self, request: own.StepUpRequest, context: Any) -> own.StepUpResponse:
        code = Code(request.totp_code, request.recovery_code)
        expire_time = await proof.step_up(self._desk, _actor(context), request.password, code)
        return own.StepUpResponse(expire_time=_time(expire_time))

    async def ListSecurityEvents(
        self, request: own.ListSecurityEventsRequest, context: Any
    ) -> own.ListSecurityEventsResponse:
        size, token = request.page_size, request.page_token
        records, next_token = await security_events.listed(self._desk, self._trail, _actor(context), size, token)
        return own.ListSecurityEventsResponse(events=map(_security_event, records), next_page_token=next_token)

    async def GetProfile(self, request: own.GetProfileRequest, context: Any) -> own.GetProfileResponse:
        return own.GetProfileResponse(account=_account(await profile.get(self._desk, _actor(context))))

    async def UpdateProfile(self, request: own.UpdateProfileRequest, context: Any) -> own.UpdateProfileResponse:
        changes = profile.Changes(
            display_name=_given(request, "display_name"),
            email=_given(request, "email"),
            locale=_given(request, "locale"),
        )
        account = await profile.update(self._desk, _actor(context), changes)
        return own.UpdateProfileResponse(account=_account(account))

    async def ChangePassword(self, request: own.ChangePasswordRequest, context: Any) -> own.ChangePasswordResponse:
        actor = _actor(context)
        await profile.change_password(self._desk, actor, request.old_password, request.new_password)
        return own.ChangePasswordResponse()

    async def CloseAccount(self, request: own.CloseAccountRequest, context: Any) -> own.CloseAccountResponse:
        await profile.close(self._desk, _actor(context), request.password)
        return own.CloseAccountResponse()

    async def ListSessions(self, request: own.ListSessionsRequest, context: Any) -> own.ListSessionsResponse:
        actor = _actor(context)
        found = await sessions.listed(self._desk, actor)
        return own.ListSessionsResponse(sessions=[_session(session, actor) for session in found])

    async def EndSession(self, request: own.EndSessionRequest, context: Any) -> own.EndSessionResponse:
        await sessions.end(self._desk, _actor(context), request.session_id)
        return own.EndSessionResponse()

    async def EndSessions(self, request: own.EndSessionsRequest, context: Any) -> own.EndSessionsResponse:
        ended = await sessions.end_all(self._desk, _actor(context), request.keep_current)
        return own.EndSessionsResponse(ended_count=ended)

    async def EnrollTotp(self, request: own.EnrollTotpRequest, context: Any) -> own.EnrollTotpResponse:
        enrolment = await mfa.enrol(self._desk, _actor(context), request.password)
        return own.EnrollTotpResponse(secret=enrolment.secret, otpauth_uri=enrolment.uri)

    async def ConfirmTotp(self, request: own.ConfirmTotpRequest, context: Any) -> own.ConfirmTotpResponse:
        codes = await mfa.confirm(self._desk, _actor(context), request.totp_code)
        return own.ConfirmTotpResponse(recovery_codes=codes)

    async def DisableTotp(self, request: own.DisableTotpRequest, context: Any) -> own.DisableTotpResponse:
        code = Code(request.totp_code, request.recovery_code)
        await mfa.disable(self._desk, _actor(context), request.password, code)
        return own.DisableTotpResponse()

    async def CreateApiKey(self, request: own.CreateApiKeyRequest, context: Any) -> own.CreateApiKeyResponse:
        wish = api_keys.Wish(request.display_name, tuple(request.roles), _period(request, "valid_for"))
        shown, key = await api_keys.create(self._desk, _actor(context), wish)
        await context.send_initial_metadata(CREATED)
        return own.CreateApiKeyResponse(api_key=shown, key=_key(key))

    async def ListApiKeys(self, request: own.ListApiKeysRequest, context: Any) -> own.ListApiKeysResponse:
        found = await api_keys.listed(self._desk, _actor(context))
        return own.ListApiKeysResponse(keys=[_key(key) for key in found])

    async def RevokeApiKey(self, request: own.RevokeApiKeyRequest, context: Any) -> own.RevokeApiKeyResponse:
        await api_keys.revoke(self._desk, _actor(context), request.key_id)
        return own.RevokeApiKeyResponse()


class AdministrationServicer(administration_service_pb2_grpc.AdministrationServiceServicer):
    """Other people's accounts, invitations, and the keys that tokens are signed with."""

    def __init__(self, desk: Desk, keys: KeyRing, tokens: JwtTokens) -> None:
        self._desk = desk
        self._keys = keys
        self._tokens = tokens

    async def ListAccounts(self, request: admin.ListAccountsRequest, context: Any) -> admin.ListAccountsResponse:
        wanted = Wanted(request.page_size, request.page_token)
        page = await administration.accounts(self._desk, _actor(context), wanted)
        return admin.ListAccountsResponse(accounts=map(_account, page.items), next_page_token=page.next_token)

    async def GetAccount(self, request: admin.GetAccountRequest, context: Any) -> admin.GetAccountResponse:
        seen = await administration.get(self._desk, _actor(context), request.account_id)
        return admin.GetAccountResponse(account=_account(seen.account), lock_end_time=_time(seen.lock_end))

    async def SetRoles(self, request: admin.SetRolesRequest, context: Any) -> admin.SetRolesResponse:
        actor = _actor(context)
        account = await administration.set_roles(self._desk, actor, request.account_id, tuple(request.roles))
        return admin.SetRolesResponse(account=_account(account))

    async def DisableAccount(self, request: admin.DisableAccountRequest, context: Any) -> admin.DisableAccountResponse:
        account = await administration.disable(self._desk, _actor(context), request.account_id)
        return admin.DisableAccountResponse(account=_account(account))

    async def EnableAccount(self, request: admin.EnableAccountRequest, context: Any) -> admin.EnableAccountResponse:
        account = await administration.enable(self._desk, _actor(context), request.account_id)
        return admin.EnableAccountResponse(account=_account(account))

    async def UnlockAccount(self, request: admin.UnlockAccountRequest, context: Any) -> admin.UnlockAccountResponse:
        await administration.unlock(self._desk, _actor(context), request.account_id)
        return admin.UnlockAccountResponse()

    async def EndAccountSessions(
        self, request: admin.EndAccountSessionsRequest, context: Any
    ) -> admin.EndAccountSessionsResponse:
        actor = _actor(context)
        ended = await administration.end_sessions(self._desk, actor, request.account_id, request.revoke_api_keys)
        return admin.EndAccountSessionsResponse(ended_count=ended.sessions, revoked_count=ended.keys)

    async def ResetPassword(self, request: admin.ResetPasswordRequest, context: Any) -> admin.ResetPasswordResponse:
        actor = _actor(context)
        reset = await administration.reset_password(self._desk, actor, request.account_id, request.disable_totp)
        return admin.ResetPasswordResponse(reset_token=reset.token, expire_time=_time(reset.expire_time))

    async def CreateInvitation(
        self, request: admin.CreateInvitationRequest, context: Any
    ) -> admin.CreateInvitationResponse:
        guest = registration.Guest(tuple(request.roles), request.note, _period(request, "valid_for"))
        token, invitation = await registration.invite(self._desk, _actor(context), guest)
        await context.send_initial_metadata(CREATED)
        return admin.CreateInvitationResponse(invitation_token=token, invitation=_invitation(invitation))

    async def ListInvitations(
        self, request: admin.ListInvitationsRequest, context: Any
    ) -> admin.ListInvitationsResponse:
        wanted = Wanted(request.page_size, request.page_token)
        page = await registration.invitations(self._desk, _actor(context), wanted)
        return admin.ListInvitationsResponse(invitations=map(_invitation, page.items), next_page_token=page.next_token)

    async def DeleteInvitation(
        self, request: admin.DeleteInvitationRequest, context: Any
    ) -> admin.DeleteInvitationResponse:
        await registration.disinvite(self._desk, _actor(context), request.invitation_id)
        return admin.DeleteInvitationResponse()

    async def RotateSigningKey(
        self, request: admin.RotateSigningKeyRequest, context: Any
    ) -> admin.RotateSigningKeyResponse:
        key = await signing_keys.rotate(self._desk, self._keys, _actor(context))
        return admin.RotateSigningKeyResponse(kid=self._tokens.key_id(key.pem), sign_time=_time(key.sign_time))


class AuditServicer(audit_service_pb2_grpc.AuditServiceServicer):
    """The audit trail: services add to it, administrators read it."""

    def __init__(self, desk: Desk, trail: Trail, spiffe_id: Callable[[str], str]) -> None:
        self._desk = desk
        self._trail = trail
        self._spiffe_id = spiffe_id

    async def AppendEvents(self, request: audit.AppendEventsRequest, context: Any) -> audit.AppendEventsResponse:
        """Append events. Raises PermissionDenied when the caller may not record one of them."""
        # A sender reports the calls that it serves itself, in its own name only.
        events = [event_of(event, access.caller()) for event in request.events]
        for event in events:
            if why := audit_policy.refusal(event, self._spiffe_id):
                log.warning("audit event refused", sender=event.service, action=event.action, method=event.method)
                raise PermissionDenied(
                    f"none of these events is kept, since {event.service} may not record one of them: {why}",
                    reason="AUDIT_EVENT_REFUSED",
                )
        await self._trail.append([event.received(self._desk.now()) for event in events])
        return audit.AppendEventsResponse()

    async def ListAuditRecords(
        self, request: audit.ListAuditRecordsRequest, context: Any
    ) -> audit.ListAuditRecordsResponse:
        wanted = Filter(
            actor=request.actor,
            action=request.action,
            target=request.target,
            result=request.result,
            from_time=moment(request.from_time, "from_time"),
            to_time=moment(request.to_time, "to_time"),
        )
        page = Wanted(request.page_size, request.page_token)
        actor = _actor(context)
        records, token = await administration.records(self._desk, self._trail, actor, wanted, page)
        return audit.ListAuditRecordsResponse(records=map(_record, records), next_page_token=token)

    async def VerifyAuditTrail(
        self, request: audit.VerifyAuditTrailRequest, context: Any
    ) -> audit.VerifyAuditTrailResponse:
        known = Head(request.known_count, bytes.fromhex(request.known_hash))
        found = await administration.verify(self._desk, self._trail, _actor(context), known)
        return audit.VerifyAuditTrailResponse(
            intact=not found.fault,
            record_count=found.head.number,
            head_hash=found.head.hash.hex() if found.head.number else "",
            fault=found.fault,
            fault_number=found.number,
        )


def event_of(event: audit.AuditEvent, service: str) -> Event:
    """An event that a service told of."""
    return Event(
        id=event.event_id,
        time=event.time.ToDatetime(UTC),
        service=service,
        action=event.action,
        actor=event.actor,
        result=event.result,
        target=event.target,
        credential=event.credential,
        peer=event.peer,
        address=event.address,
        trace_id=event.trace_id,
        method=event.method,
        details=dict(event.details),
    )


def _record(record: Record) -> audit.AuditRecord:
    event = record.event
    told = audit.AuditEvent(
        event_id=event.id,
        time=_time(event.time),
        action=event.action,
        actor=event.actor,
        credential=event.credential,
        peer=event.peer,
        target=event.target,
        result=event.result,
        address=event.address,
        trace_id=event.trace_id,
        method=event.method,
        details=event.details,
    )
    return audit.AuditRecord(number=record.number, service=event.service, event=told, hash=record.hash.hex())


def _security_event(record: Record) -> own.SecurityEvent:
    event = record.event
    return own.SecurityEvent(
        time=_time(event.time),
        action=event.action,
        result=event.result,
        actor=event.actor,
        credential=event.credential,
        target=event.target,
        address=event.address,
        details=event.details,
    )


def client_of(context: Any) -> Client:
    """Where the running call came from, and the program that the client claims to be."""
    agent = str(dict(context.invocation_metadata()).get("user-agent", ""))[:AGENT_MAX]
    return Client(access.client_address(), "".join(letter for letter in agent if letter.isprintable()))


def _actor(context: Any) -> Actor:
    user = access.user()
    return Actor(user.id, user.session, client_of(context))


def _access(tokens: Tokens) -> dict[str, Any]:
    return {
        "access_token": tokens.access_token,
        "token_type": "Bearer",
        "expires_in": int(tokens.access_life.total_seconds()),
    }


def _tokens(tokens: Tokens) -> dict[str, Any]:
    return {**_access(tokens), "refresh_token": tokens.refresh_token}


def _account(account: Account) -> account_pb2.Account:
    return account_pb2.Account(
        account_id=account.id,
        username=account.username,
        roles=account.roles,
        display_name=account.profile.display_name,
        email=account.profile.email,
        locale=account.profile.locale,
        create_time=_time(account.create_time),
        disable_time=_time(account.disable_time),
        mfa_enabled=account.mfa,
    )


def _session(session: Session, actor: Actor) -> own.Session:
    return own.Session(
        session_id=session.id,
        create_time=_time(session.create_time),
        last_use_time=_time(session.use_time),
        address=session.client.address,
        user_agent=session.client.user_agent,
        current=session.id == actor.session_id,
    )


def _key(key: ApiKey) -> own.ApiKey:
    return own.ApiKey(
        key_id=key.id,
        display_name=key.display_name,
        roles=key.roles,
        create_time=_time(key.create_time),
        expire_time=_time(key.expire_time),
        last_use_time=_time(key.use_time),
        last_use_address=key.use_address,
        revoke_time=_time(key.revoke_time),
    )


def _invitation(invitation: Invitation) -> admin.Invitation:
    return admin.Invitation(
        invitation_id=invitation.id,
        roles=invitation.roles,
        note=invitation.note,
        creator_id=invitation.creator_id,
        create_time=_time(invitation.create_time),
        expire_time=_time(invitation.expire_time),
    )


def _given(request: Message, field: str) -> str | None:
    return str(getattr(request, field)) if request.HasField(field) else None


def _period(request: Message, field: str) -> timedelta | None:
    if not request.HasField(field):
        return None
    period: Duration = getattr(request, field)
    return period.ToTimedelta()


def _time(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
