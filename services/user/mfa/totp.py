"""TOTP: the codes of authenticator apps, which RFC 6238 derives from a secret and the time."""

from __future__ import annotations

from datetime import datetime

import pyotp
from pyotp.exceptions import OTPVerificationError

# The clocks of phones are off, and people take time to type: the periods before and after are accepted too.
TOLERATED_PERIODS = 1


class PyotpCodes:
    """A TotpCodes with codes of six digits and periods of 30 seconds."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def new_secret(self) -> str:
        """Return a new secret of 160 bits, in base 32."""
        return pyotp.random_base32()

    def uri(self, secret: str, username: str) -> str:
        """Return the `otpauth:` URI that an app reads from a QR code."""
        return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=self._issuer)

    def find_counter(self, secret: str, code: str, now: datetime) -> int | None:
        """Return the number of the period whose code this is; None when it is of no period around `now`."""
        try:
            return pyotp.TOTP(secret).verify_and_get_timecode(code, for_time=now, valid_window=TOLERATED_PERIODS)
        except OTPVerificationError:
            return None
