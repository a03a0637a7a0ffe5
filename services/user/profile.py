"""Profile: what people may change of their own account."""

from __future__ import annotations

from dataclasses import dataclass

from moneyprinter.errors import InvalidArgument, PermissionDenied, Violation
from services.user.accounts import Account, Profile, check_new_password, typed
from services.user.desk import Actor, Desk, acting
from services.user.proof import acting_proven, check_password


@dataclass(frozen=True)
class Changes:
    """What is to change of a profile; None stays as it is."""

    display_name: str | None = None
    email: str | None = None
    locale: str | None = None

    def applied(self, profile: Profile) -> Profile:
        """A profile with the changes."""
        return Profile(
            profile.display_name if self.display_name is None else self.display_name,
            profile.email if self.email is None else self.email,
            profile.locale if self.locale is None else self.locale,
        )


async def get(desk: Desk, actor: Actor) -> Account:
    """The account of who is asking; a machine may ask too."""
    return await acting(desk, actor, person=False)


async def update(desk: Desk, actor: Actor, changes: Changes) -> Account:
    """Change the profile. Raises PermissionDenied, for another e-mail address without a proof of late."""
    async with desk.audited_by(actor, "profile.update", actor.account_id):
        account = await acting(desk, actor)
        if changes.email is not None and changes.email != account.profile.email:
            # Where mail goes, a new password may go one day.
            await acting_proven(desk, actor)
        return await desk.store.accounts.set_profile(account.id, changes.applied(account.profile))


async def change_password(desk: Desk, actor: Actor, old: str, new: str) -> None:
    """Replace the password, and end every other session. Raises PermissionDenied, InvalidArgument."""
    async with desk.audited_by(actor, "password.change", actor.account_id):
        account = await _owner(desk, actor)
        check_new_password(new, account.username, "new_password")
        if typed(new) == typed(old):
            said = "is the old password; choose another one"
            raise InvalidArgument(
                f"new_password: {said}", reason="PASSWORD_UNCHANGED", violations=[Violation("new_password", said)]
            )
        await check_password(desk, account, old, actor.client)
        new_hash = await desk.passwords.hash(new)
        if not await desk.store.accounts.set_password(
            account.id, account.password_hash or "", new_hash, actor.session_id
        ):
            raise PermissionDenied("the password was changed meanwhile", reason="CREDENTIALS_WRONG")


async def close(desk: Desk, actor: Actor, password: str) -> None:
    """Disable the account of who is asking. Raises PermissionDenied, FailedPrecondition."""
    async with desk.audited_by(actor, "account.close", actor.account_id):
        account = await _owner(desk, actor)
        await check_password(desk, account, password, actor.client)
        await desk.store.accounts.disable(account.id, desk.now())


async def _owner(desk: Desk, actor: Actor) -> Account:
    """The account that is asking; where it asks for codes, by a session that was proven lately, so by one."""
    account = await acting(desk, actor)
    return await acting_proven(desk, actor) if account.mfa else account
