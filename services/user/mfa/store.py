"""Store: the Protocol of the store of second factors."""

from __future__ import annotations

from typing import Protocol

from services.user.mfa.model import TotpSecret


class SecondFactorStore(Protocol):
    """TOTP secrets and recovery codes."""

    async def find_totp(self, account_id: str) -> TotpSecret | None:
        """Return the secret of an account, confirmed or not."""

    async def enroll_totp(self, account_id: str, encrypted: bytes) -> bool:
        """Store a secret to be confirmed, in place of a former one; False when one is confirmed already."""

    async def confirm_totp(self, account_id: str, encrypted: bytes, counter: int, codes: tuple[bytes, ...]) -> bool:
        """Confirm exactly this secret with the code of `counter`, and store digests of recovery codes.

        False when it is not the secret to be confirmed.
        """

    async def use_counter(self, account_id: str, counter: int) -> bool:
        """Use up the code of a counter; False when this or a later one was used before."""

    async def use_recovery_code(self, account_id: str, digest: bytes) -> bool:
        """Use up a recovery code; False when there is no such code."""

    async def disable_totp(self, account_id: str) -> bool:
        """Delete the secret and the recovery codes; False when there were none."""
