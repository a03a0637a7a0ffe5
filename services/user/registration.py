"""Registration: how accounts are made, by invitation or freely, and how a lost password is replaced."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from moneyprinter.errors import FailedPrecondition, NotFound, PermissionDenied
from services.user.accounts import Account, Profile, check_new_password, checked_name
from services.user.desk import Actor, Desk, administrator, sha256
from services.user.pages import Page, Wanted, page
from services.user.proof import administering, sign_in_proofs
from services.user.store import Client, Invitation, invitation_invalid

INVITATION_LIFE = timedelta(days=7)


@dataclass(frozen=True)
class Wish:
    """An account to be made."""

    username: str
    password: str = field(repr=False)
    invitation_token: str = field(default="", repr=False)
    profile: Profile = field(default_factory=Profile)


@dataclass(frozen=True)
class Guest:
    """Who is to be invited."""

    roles: tuple[str, ...]
    note: str = ""
    valid_for: timedelta | None = None
    """None: as long as usual."""


async def register(desk: Desk, wish: Wish, client: Client) -> Account:
    """Make an account.

    Raises PermissionDenied when the platform is closed or the invitation is not good, InvalidArgument when name
    or password will not do, Conflict when the name is taken, ResourceExhausted when one address makes too many.
    Only who is invited learns whether a name is taken, unless the platform is open to everybody.
    """
    async with desk.audited("account.register", client) as entry:
        now = desk.now()
        invitation = await _invitation(desk, wish.invitation_token, client)
        if invitation is None:
            await desk.guard.registration(client.address, now)
        name = checked_name(wish.username)
        check_new_password(wish.password, name, "password")
        account = Account(
            id=desk.new_id("user"),
            username=name,
            password_hash=await desk.passwords.hash(wish.password),
            roles=invitation.roles if invitation else desk.policy.registered_roles,
            create_time=now,
            profile=wish.profile,
        )
        await desk.store.accounts.register(account, invitation.sha256 if invitation else None)
        entry.actor = entry.target = account.id
        entry.details["roles"] = " ".join(account.roles)
        if invitation:
            entry.details["invitation"] = invitation.id
        return account


async def _invitation(desk: Desk, token: str, client: Client) -> Invitation | None:
    """The invitation to register with; None where none is needed and none is shown."""
    if desk.policy.registration == "closed":
        raise _closed()
    if desk.policy.registration == "open" and not token:
        return None
    found = await desk.store.invitations.find(sha256(token), desk.now())
    if found is None:
        await desk.guard.guessed("invitation", client.address, desk.now())
        raise invitation_invalid()
    return found


async def invite(desk: Desk, actor: Actor, guest: Guest) -> tuple[str, Invitation]:
    """Make an invitation; returns its token, which is shown once, and what is kept. Raises PermissionDenied."""
    async with administering(desk, actor, "invitation.create", roles=guest.roles) as entry:
        entry.details["roles"] = " ".join(guest.roles)
        if desk.policy.registration == "closed":
            raise _closed()
        token, now = desk.new_token(), desk.now()
        invitation = Invitation(
            id=desk.new_id("inv"),
            sha256=sha256(token),
            roles=guest.roles,
            note=guest.note,
            creator_id=actor.account_id,
            create_time=now,
            expire_time=now + (guest.valid_for or INVITATION_LIFE),
        )
        entry.target = invitation.id
        await desk.store.invitations.add(invitation)
        return token, invitation


async def invitations(desk: Desk, actor: Actor, wanted: Wanted) -> Page[Invitation]:
    """A page of the invitations that can be used."""
    await administrator(desk, actor)
    return await page(wanted, lambda size, after: desk.store.invitations.page(size, after, desk.now()))


async def disinvite(desk: Desk, actor: Actor, invitation_id: str) -> None:
    """Take an invitation back. Raises NotFound."""
    async with administering(desk, actor, "invitation.delete", invitation_id):
        if not await desk.store.invitations.delete(invitation_id, desk.now()):
            raise NotFound(f"there is no invitation {invitation_id}", reason="INVITATION_NOT_FOUND")


async def set_password(desk: Desk, token: str, new: str, client: Client) -> None:
    """Set a new password with the token that an administrator gave. Raises PermissionDenied, InvalidArgument."""
    async with desk.audited("password.set", client) as entry:
        account = await desk.store.accounts.resetting(sha256(token), desk.now())
        if account is not None:
            entry.target = account.id
            check_new_password(new, account.username, "new_password")
            account = await desk.store.accounts.end_reset(sha256(token), await desk.passwords.hash(new), desk.now())
        if account is None:
            await desk.guard.guessed("reset token", client.address, desk.now())
            raise PermissionDenied(
                "the token for a new password is unknown, expired, or was used before", reason="RESET_TOKEN_INVALID"
            )
        entry.actor = account.id
        # What was guessed at is not the password any more. Codes are what they were.
        await desk.guard.unlock(await sign_in_proofs(desk, account))


def _closed() -> FailedPrecondition:
    return FailedPrecondition("the platform takes no new accounts", reason="REGISTRATION_CLOSED")
