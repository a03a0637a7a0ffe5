"""Invitations: administrators let people register, each with the roles of the invitation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from moneyprinter.errors import FailedPrecondition, NotFound
from services.runtime.pagination import Page, PageRequest, item_cursor, list_page
from services.user.accounts.model import PAGE_SIZE, Invitation
from services.user.authorization import admin_action, require_administrator
from services.user.context import Actor, Context
from services.user.tokens.opaque_tokens import hash_token

INVITATION_LIFETIME = timedelta(days=7)


@dataclass(frozen=True)
class InvitationRequest:
    """An invitation to be created."""

    roles: tuple[str, ...]
    note: str = ""
    valid_for: timedelta | None = None
    """None: INVITATION_LIFETIME."""


async def create_invitation(context: Context, actor: Actor, request: InvitationRequest) -> tuple[str, Invitation]:
    """Create an invitation; return its token, which is not stored, and the invitation.

    Raises `PermissionDenied`, and `FailedPrecondition` when the platform accepts no registrations.
    """
    async with admin_action(context, actor, "invitation.create", roles=request.roles) as entry:
        entry.details["roles"] = " ".join(request.roles)
        if context.policy.registration == "closed":
            raise registration_closed()
        token, now = context.new_token(), context.now()
        invitation = Invitation(
            id=context.new_id("inv"),
            sha256=hash_token(token),
            roles=request.roles,
            note=request.note,
            creator_id=actor.account_id,
            create_time=now,
            expire_time=now + (request.valid_for or INVITATION_LIFETIME),
        )
        entry.target = invitation.id
        await context.store.invitations.add(invitation)
        return token, invitation


async def list_invitations(context: Context, actor: Actor, request: PageRequest) -> Page[Invitation]:
    """Return a page of the valid invitations. Raises `PermissionDenied`."""
    await require_administrator(context, actor)
    return await list_page(
        request,
        lambda size, after: context.store.invitations.list_page(size, after, context.now()),
        item_cursor,
        PAGE_SIZE,
    )


async def delete_invitation(context: Context, actor: Actor, invitation_id: str) -> None:
    """Delete an invitation. Raises `NotFound`, `PermissionDenied`."""
    async with admin_action(context, actor, "invitation.delete", invitation_id):
        if not await context.store.invitations.delete(invitation_id, context.now()):
            raise NotFound(f"there is no invitation {invitation_id}", reason="INVITATION_NOT_FOUND")


def registration_closed() -> FailedPrecondition:
    """Return the error of a platform that accepts no registrations."""
    return FailedPrecondition("the platform takes no new accounts", reason="REGISTRATION_CLOSED")
