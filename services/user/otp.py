"""Otp: the codes of authenticator apps, as RFC 6238 makes them of a secret and the time."""

from __future__ import annotations

from datetime import datetime

import pyotp
from pyotp.exceptions import OTPVerificationError

# Clocks of phones are off, and people take time to type: the periods before and after count too.
PERIODS_AROUND = 1


class AuthenticatorCodes:
    """Codes of six digits, every 30 seconds."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def new_secret(self) -> str:
        """A new secret of 160 bits, in base 32."""
        return pyotp.random_base32()

    def uri(self, secret: str, username: str) -> str:
        """The address that an app reads from a QR code."""
        return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=self._issuer)

    def counter(self, secret: str, code: str, now: datetime) -> int | None:
        """The number of the period whose code this is, if it is one of about now."""
        try:
            return pyotp.TOTP(secret).verify_and_get_timecode(code, for_time=now, valid_window=PERIODS_AROUND)
        except OTPVerificationError:
            return None
