"""Registration: people create their own account, with an invitation or, where the platform is open, without one."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.user.accounts.credential_rules import validate_new_password, validate_username
from services.user.accounts.invitations import registration_closed
from services.user.accounts.model import Account, Invitation, Profile
from services.user.accounts.store import invitation_invalid
from services.user.client import Client
from services.user.context import Context
from services.user.tokens.opaque_tokens import hash_token


@dataclass(frozen=True)
class RegistrationRequest:
    """An account to be created."""

    username: str
    password: str = field(repr=False)
    invitation_token: str = field(default="", repr=False)
    profile: Profile = field(default_factory=Profile)


async def register_account(context: Context, request: RegistrationRequest, client: Client) -> Account:
    """Create an account.

    Raises `PermissionDenied` when the invitation is not valid, `FailedPrecondition` when the platform accepts no
    registrations, `InvalidArgument` when username or password are not acceptable, `Conflict` when the username is
    taken, `ResourceExhausted` when one address registers too many accounts. Unless the platform is open to everybody,
    only the holder of a valid invitation learns whether a username is taken.
    """
    async with context.audit_action("account.register", client) as entry:
        now = context.now()
        invitation = await _find_invitation(context, request.invitation_token, client)
        if invitation is None:
            await context.throttle.count_registration(client.address, now)
        username = validate_username(request.username)
        validate_new_password(request.password, username, "password")
        account = Account(
            id=context.new_id("user"),
            username=username,
            password_hash=await context.passwords.hash(request.password),
            roles=invitation.roles if invitation else context.policy.registered_roles,
            create_time=now,
            profile=request.profile,
        )
        await context.store.accounts.register(account, invitation.sha256 if invitation else None)
        entry.actor = entry.target = account.id
        entry.details["roles"] = " ".join(account.roles)
        if invitation:
            entry.details["invitation"] = invitation.id
        return account


async def _find_invitation(context: Context, token: str, client: Client) -> Invitation | None:
    """Return the invitation of a token; None when the platform is open and there is no token."""
    if context.policy.registration == "closed":
        raise registration_closed()
    if context.policy.registration == "open" and not token:
        return None
    invitation = await context.store.invitations.find(hash_token(token), context.now())
    if invitation is None:
        await context.throttle.count_invalid_token("invitation", client.address, context.now())
        raise invitation_invalid()
    return invitation
