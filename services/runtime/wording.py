"""Wording: describes a broken rule of a field in plain words, with an example."""

from __future__ import annotations

import re
from typing import Any

_TIME = r"^[0-9]{2}:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,3})?$"
_COLOUR = "^#[0-9a-f]{6}$"

PATTERNS = {
    _TIME: "must be a time as HH:MM:SS or HH:MM:SS.mmm, for example {example}",
    _COLOUR: "must be a colour as #rrggbb in small letters, for example {example}",
    "^ast_[0-9a-z]{1,64}$": "must be the id of an upload, for example ast_1a2b3c4d",
    "^ses_[0-9a-f]{32}$": "must be the id of a session, as the list of sessions gives it",
    "^key_[0-9a-f]{16}$": "must be the id of an API key, as the list of keys gives it",
    "^user_[0-9a-f]{16}$": "must be the id of an account, as the list of accounts gives it",
    "^inv_[0-9a-f]{16}$": "must be the id of an invitation, as the list of invitations gives it",
    "^https?://": "must be an address that begins with https://, for example https://example.com/hook",
    "^[0-9]{6}$": "must be the six digits that the authenticator shows, for example 123456",
    "^[A-Za-z2-7 -]{16,32}$": "must be a recovery code as it was shown, for example ABCD-EFGH-IJKL-MNOP",
    "^[a-z]{2}$": "must be a language's code of two small letters, for example en",
    "^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$": "must be a locale, for example en or pt-BR",
    "^([a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?)?$": "must be a locale, for example en or pt-BR, or empty",
    "^([0-9a-f]{64})?$": "must be the hash that a verification printed, of 64 digits and letters from a to f",
    "^[0-9]{0,18}$": "must be a token that a list gave; leave it out to begin at the newest",
    "^[A-Z0-9_]{0,64}$": "must be OK or a reason, for example ROLE_MISSING",
    "^[A-Za-z0-9_.:/-]{0,256}$": "must be an id or a key, for example vid_1a2b3c4d",
    "^[a-z0-9_.]{0,64}$": "must be an action, for example sign_in, or the first part of some, for example job.",
    "^[a-z0-9][a-z0-9._-]{0,63}$": "must be at most 64 small letters, digits, dots and dashes, for example billing",
    "^[0-9]{1,18}$": "must be the position of an event, for example 42",
    "^([0-9]{1,18}|now)$": "must be the position of an event, for example 42, or now",
    "^[a-z0-9.-]*$": "must be the name of a file as the list of files gives it, for example video.mp4",
    "^[a-z][a-z0-9-]*$": "must be the name of a provider as the list of providers gives it, for example openai",
    "^[!-~]+$": "must be a key of letters, digits and signs, without spaces",
    "^[a-z0-9]*$": "must be a region in small letters and digits, for example westeurope",
    "^[a-z][a-z0-9-]*(/[a-z0-9][a-z0-9-]*)+$": "must be the name of a secret, for example content/providers",
    "^[A-Za-z0-9_.-]*$": "must be the ticket of a link as it was created",
    "^[A-Za-z0-9-]*$": "must be a language or a locale, for example de or en-GB",
    "^[a-z]{2,3}$": "must be a language's code of two or three small letters, for example en",
    r"\S": "must not be blank",
    r"^[^\pZ\pC]+$": "must be one word without spaces and control characters, for example nginx",
    r"^[^\pC]*$": "must be text without control characters, for example engine x",
    r"^[^,{}\\@\pC][^,{}\\\pC]*$": "must be the name of a font, for example Manrope Bold",
    r"^[^\p{Cc}\x{202A}-\x{202E}\x{2066}-\x{2069}]*$": "must be text of one line, without control characters",
}
"""The patterns of public contracts, and their descriptions."""

# An incomplete time: hours or minutes have one digit or are missing.
_SHORT_TIME = re.compile(r"(?:(?:(\d{1,2}):)?(\d{1,2}):)?(\d{1,2})((?:\.\d{1,3})?)")
_SECONDS = 60


def describe(rule_id: str, message: str, rule: Any, value: Any) -> str:
    """Return a description of what is wrong with a value that breaks a rule.

    `rule_id` and `message` are protovalidate's, such as `string.min_len` and `must be at least 1 characters`; `rule` is
    the value of the rule, such as 1.
    """
    kind = rule_id.partition(".")[2]
    if kind == "pattern" and rule in PATTERNS:
        return PATTERNS[rule].format(example=_example(rule, value))
    if kind == "min_len" and rule == 1:
        return "must not be empty"
    if kind == "min_items" and rule == 1:
        return "must have at least one element"
    if kind == "in":
        names = [str(each) for each in rule if each not in ("", 0)]
        return f"must be one of {', '.join(names)}"
    if kind == "unique":
        return "must not name the same thing twice"
    return message


def _example(pattern: str, value: Any) -> str:
    """Return an example of a valid value: a correction of the value, if possible."""
    text = str(value).strip()
    if pattern == _COLOUR:
        digits = text.lower().removeprefix("#")
        if re.fullmatch("[0-9a-f]{3}", digits):
            digits = "".join(2 * digit for digit in digits)
        return f"#{digits}" if re.fullmatch("[0-9a-f]{6}", digits) else "#ffaa00"
    found = _SHORT_TIME.fullmatch(text)
    if pattern == _TIME and found and int(found[3]) < _SECONDS and int(found[2] or 0) < _SECONDS:
        return f"{int(found[1] or 0):02}:{int(found[2] or 0):02}:{int(found[3]):02}{found[4]}"
    return "00:00:05"
