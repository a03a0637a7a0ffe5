"""Profile: what users change of their own account."""

from __future__ import annotations

from dataclasses import dataclass

from moneyprinter.errors import InvalidArgument, PermissionDenied, Violation
from services.user.accounts.credential_rules import normalize_password, validate_new_password
from services.user.accounts.model import Account, Profile
from services.user.authentication.reauthentication import require_password
from services.user.authorization import require_account, require_recent_proof
from services.user.context import Actor, Context


@dataclass(frozen=True)
class ProfileChanges:
    """New values of a profile's fields; None: unchanged."""

    display_name: str | None = None
    email: str | None = None
    locale: str | None = None

    def apply(self, profile: Profile) -> Profile:
        """Return a profile with the changes."""
        return Profile(
            profile.display_name if self.display_name is None else self.display_name,
            profile.email if self.email is None else self.email,
            profile.locale if self.locale is None else self.locale,
        )


async def get_profile(context: Context, actor: Actor) -> Account:
    """Return the actor's own account; API keys are admitted."""
    return await require_account(context, actor, allow_api_key=True)


async def update_profile(context: Context, actor: Actor, changes: ProfileChanges) -> Account:
    """Change the profile.

    Raises `PermissionDenied` (STEP_UP_REQUIRED) for another e-mail address without a recent proof of identity.
    """
    async with context.audit_actor_action(actor, "profile.update", actor.account_id):
        account = await require_account(context, actor)
        if changes.email is not None and changes.email != account.profile.email:
            # A later version may send new passwords to this address.
            await require_recent_proof(context, actor)
        return await context.store.accounts.set_profile(account.id, changes.apply(account.profile))


async def change_password(context: Context, actor: Actor, old: str, new: str) -> None:
    """Replace the password, and end every other session.

    Raises `PermissionDenied` when `old` is wrong, `InvalidArgument` when `new` is not acceptable.
    """
    async with context.audit_actor_action(actor, "password.change", actor.account_id):
        account = await _require_owner(context, actor)
        validate_new_password(new, account.username, "new_password")
        if normalize_password(new) == normalize_password(old):
            problem = "is the old password; choose another one"
            raise InvalidArgument(
                f"new_password: {problem}", reason="PASSWORD_UNCHANGED", violations=[Violation("new_password", problem)]
            )
        await require_password(context, account, old, actor.client)
        new_hash = await context.passwords.hash(new)
        if not await context.store.accounts.replace_password(
            account.id, account.password_hash or "", new_hash, actor.session_id
        ):
            raise PermissionDenied("the password was changed meanwhile", reason="CREDENTIALS_WRONG")


async def close_account(context: Context, actor: Actor, password: str) -> None:
    """Disable the actor's own account.

    Raises `PermissionDenied`, and `FailedPrecondition` when no active administrator would be left.
    """
    async with context.audit_actor_action(actor, "account.close", actor.account_id):
        account = await _require_owner(context, actor)
        await require_password(context, account, password, actor.client)
        await context.store.accounts.disable(account.id, context.now())


async def _require_owner(context: Context, actor: Actor) -> Account:
    """Return the actor's account. Where it has MFA enabled, the session must be recently proven, which takes a code."""
    account = await require_account(context, actor)
    return await require_recent_proof(context, actor) if account.mfa_enabled else account
