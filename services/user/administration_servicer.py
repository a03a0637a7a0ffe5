"""Administration servicer: AdministrationService, with which administrators manage accounts and signing keys."""

from __future__ import annotations

from typing import Any

from moneyprinter.user.v1 import administration_service_pb2 as admin
from moneyprinter.user.v1 import (
    administration_service_pb2_grpc,
)
from services.runtime.pagination import PageRequest
from services.user.accounts.administration import (
    disable_account,
    enable_account,
    end_account_sessions,
    get_account,
    list_accounts,
    set_roles,
    unlock_account,
)
from services.user.accounts.invitations import InvitationRequest, create_invitation, delete_invitation, list_invitations
from services.user.accounts.model import Invitation
from services.user.accounts.password_reset import reset_password
from services.user.context import Context
from services.user.messages import (
    CREATED,
    account_message,
    optional_duration,
    read_actor,
    to_timestamp,
)
from services.user.tokens.access_tokens import JwtTokens
from services.user.tokens.signing_keys import KeyRing, rotate_signing_key


class AdministrationServicer(administration_service_pb2_grpc.AdministrationServiceServicer):
    """Implements AdministrationService."""

    def __init__(self, context: Context, key_ring: KeyRing, tokens: JwtTokens) -> None:
        self._context = context
        self._key_ring = key_ring
        self._tokens = tokens

    async def ListAccounts(self, request: admin.ListAccountsRequest, context: Any) -> admin.ListAccountsResponse:
        page_request = PageRequest(request.page_size, request.page_token)
        page = await list_accounts(self._context, read_actor(context), page_request)
        return admin.ListAccountsResponse(accounts=map(account_message, page.items), next_page_token=page.next_token)

    async def GetAccount(self, request: admin.GetAccountRequest, context: Any) -> admin.GetAccountResponse:
        view = await get_account(self._context, read_actor(context), request.account_id)
        return admin.GetAccountResponse(
            account=account_message(view.account), lock_end_time=to_timestamp(view.lock_end)
        )

    async def SetRoles(self, request: admin.SetRolesRequest, context: Any) -> admin.SetRolesResponse:
        actor = read_actor(context)
        account = await set_roles(self._context, actor, request.account_id, tuple(request.roles))
        return admin.SetRolesResponse(account=account_message(account))

    async def DisableAccount(self, request: admin.DisableAccountRequest, context: Any) -> admin.DisableAccountResponse:
        account = await disable_account(self._context, read_actor(context), request.account_id)
        return admin.DisableAccountResponse(account=account_message(account))

    async def EnableAccount(self, request: admin.EnableAccountRequest, context: Any) -> admin.EnableAccountResponse:
        account = await enable_account(self._context, read_actor(context), request.account_id)
        return admin.EnableAccountResponse(account=account_message(account))

    async def UnlockAccount(self, request: admin.UnlockAccountRequest, context: Any) -> admin.UnlockAccountResponse:
        await unlock_account(self._context, read_actor(context), request.account_id)
        return admin.UnlockAccountResponse()

    async def EndAccountSessions(
        self, request: admin.EndAccountSessionsRequest, context: Any
    ) -> admin.EndAccountSessionsResponse:
        actor = read_actor(context)
        ended = await end_account_sessions(self._context, actor, request.account_id, request.revoke_api_keys)
        return admin.EndAccountSessionsResponse(ended_count=ended.sessions, revoked_count=ended.api_keys)

    async def ResetPassword(self, request: admin.ResetPasswordRequest, context: Any) -> admin.ResetPasswordResponse:
        actor = read_actor(context)
        reset = await reset_password(self._context, actor, request.account_id, request.disable_totp)
        return admin.ResetPasswordResponse(reset_token=reset.token, expire_time=to_timestamp(reset.expire_time))

    async def CreateInvitation(
        self, request: admin.CreateInvitationRequest, context: Any
    ) -> admin.CreateInvitationResponse:
        invitation_request = InvitationRequest(
            tuple(request.roles), request.note, optional_duration(request, "valid_for")
        )
        token, invitation = await create_invitation(self._context, read_actor(context), invitation_request)
        await context.send_initial_metadata(CREATED)
        return admin.CreateInvitationResponse(invitation_token=token, invitation=_invitation_message(invitation))

    async def ListInvitations(
        self, request: admin.ListInvitationsRequest, context: Any
    ) -> admin.ListInvitationsResponse:
        page_request = PageRequest(request.page_size, request.page_token)
        page = await list_invitations(self._context, read_actor(context), page_request)
        return admin.ListInvitationsResponse(
            invitations=map(_invitation_message, page.items), next_page_token=page.next_token
        )

    async def DeleteInvitation(
        self, request: admin.DeleteInvitationRequest, context: Any
    ) -> admin.DeleteInvitationResponse:
        await delete_invitation(self._context, read_actor(context), request.invitation_id)
        return admin.DeleteInvitationResponse()

    async def RotateSigningKey(
        self, request: admin.RotateSigningKeyRequest, context: Any
    ) -> admin.RotateSigningKeyResponse:
        key = await rotate_signing_key(self._context, self._key_ring, read_actor(context))
        return admin.RotateSigningKeyResponse(kid=self._tokens.key_id(key.pem), sign_time=to_timestamp(key.sign_time))


def _invitation_message(invitation: Invitation) -> admin.Invitation:
    return admin.Invitation(
        invitation_id=invitation.id,
        roles=invitation.roles,
        note=invitation.note,
        creator_id=invitation.creator_id,
        create_time=to_timestamp(invitation.create_time),
        expire_time=to_timestamp(invitation.expire_time),
    )
