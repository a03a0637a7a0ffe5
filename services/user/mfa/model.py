"""Model: second factors, as they are stored."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TotpSecret:
    """The secret of an account's authenticator app."""

    encrypted: bytes = field(repr=False)
    confirmed: bool
    """Whether the owner has shown a code of it; only then signing in takes one."""
