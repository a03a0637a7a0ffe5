"""Credential rules: which usernames and passwords are accepted, and the one form in which each is compared."""

from __future__ import annotations

import re
import unicodedata

from moneyprinter.errors import InvalidArgument, Violation

MIN_PASSWORD_LENGTH = 12
# How many characters a password must have beside its account's username and the parts that attackers try first.
_MIN_REST_LENGTH = 6
_COMMON_PARTS = re.compile(
    "0123456789|1234567890|123456789|12345678|1234567|123456|12345|1234|123|9876543210|987654321|87654321|"
    "qwertyuiop|asdfghjkl|1q2w3e4r5t|1q2w3e4r|q1w2e3r4|zxcvbnm|qwertz|qwerty|azerty|asdfgh|abcdefgh|abcdef|abcd|abc123|"
    "administrator|changeme|password|passwort|passw0rd|p@ssw0rd|passwd|default|welcome|letmein|iloveyou|trustno1|"
    "moneyprinter|football|baseball|superman|starwars|princess|sunshine|computer|internet|michael|batman|dragon|monkey|"
    "master|shadow|secret|samsung|google|admin|login|root|user|test|2024|2025|2026|2027"
)
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{2,31}")


def normalize_username(username: str) -> str:
    """Return the form in which a username is stored and searched for: NFKC, in lower case."""
    return unicodedata.normalize("NFKC", username).lower()


def validate_username(username: str) -> str:
    """Return the normalized username of a new account. Raises `InvalidArgument`.

    Only ASCII letters are accepted: different names in other scripts can look the same.
    """
    username = normalize_username(username)
    if not _USERNAME.fullmatch(username):
        problem = "must be 3 to 32 of a-z, 0-9, dot, hyphen and underscore, beginning with a letter or digit"
        raise InvalidArgument(
            f"username: {problem}", reason="REQUEST_INVALID", violations=[Violation("username", problem)]
        )
    return username


def normalize_password(password: str) -> str:
    """Return a password in the form of RFC 8265 (NFC), which does not depend on how the keyboard composes accents."""
    return unicodedata.normalize("NFC", password)


def validate_new_password(password: str, username: str, field_name: str) -> None:
    """Raise `InvalidArgument`, which names the field, when a new password is short or easily guessed."""
    rest = _COMMON_PARTS.sub("", normalize_username(password).replace(username, ""))
    problem = ""
    if len(password) < MIN_PASSWORD_LENGTH:
        problem = f"must have at least {MIN_PASSWORD_LENGTH} characters"
    elif len(rest) < _MIN_REST_LENGTH or len(set(rest)) < _MIN_REST_LENGTH - 1:
        problem = "is easily guessed: it is hardly more than the account's name and parts of common passwords"
    if problem:
        raise InvalidArgument(
            f"{field_name}: {problem}", reason="PASSWORD_WEAK", violations=[Violation(field_name, problem)]
        )
