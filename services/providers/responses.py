"""Responses: the failure that an HTTP answer of a provider stands for."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from services.providers.breaker import MAX_PAUSE
from services.providers.failures import FailureKind, ProviderFailure

# Codes for an exhausted quota, which OpenAI, ElevenLabs, DeepSeek and others send with 400, 401, 403 or 429.
QUOTA_CODES = {
    *(
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "quota_exceeded",
        "insufficient_balance",
    ),
    *("insufficientquota", "credit_balance_too_low", "exceeded_current_quota_error", "arrearage"),
}
KEY_STATUSES = (401, 403)
# Google's codes for a wrong key, which it sends with 400.
KEY_CODES = {"api_key_invalid", "invalid_api_key", "api_key_expired"}
# A code is shown in messages: it has words only, so that it cannot be a key, an address or a sentence.
_CODE = re.compile(r"[A-Za-z][A-Za-z]*(?:_[A-Za-z]+){0,6}")
_CODE_FIELDS = ("code", "reason", "status", "type")
_MAX_DEPTH, _MAX_NODES = 6, 500


def to_failure(
    provider: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime | None = None,
    *,
    key_statuses: Collection[int] = KEY_STATUSES,
) -> ProviderFailure:
    """Return the failure that an answer with a status other than 2xx stands for.

    Args:
        provider: The name of the provider.
        status: The HTTP status.
        headers: The headers, with names that are compared without case.
        body: The beginning of the body. Only its short codes are read.
        now: The present time, for an HTTP date in Retry-After; by default that of the system.
        key_statuses: The statuses that stand for a refused key.
    """
    codes = read_codes(body)
    code = next(iter(codes), "")
    kind = _kind(status, {code.lower() for code in codes}, key_statuses)
    answer = f"{provider} answered with HTTP {status}" + (f" ({code})" if code else "")
    advice = {
        FailureKind.UNAUTHORIZED: "it refuses the key; give it a valid key with access to this service",
        FailureKind.QUOTA_EXHAUSTED: "its quota is exhausted; add credit there, or give another key",
        FailureKind.RATE_LIMITED: "it limits the number of calls",
        FailureKind.UNAVAILABLE: "it does not work at present",
        FailureKind.TIMEOUT: "it was too slow",
        FailureKind.BAD_RESPONSE: "redirects are not followed; check the address of the provider",
        FailureKind.REFUSED: "it refuses this request",
    }[kind]
    waits = kind in (FailureKind.RATE_LIMITED, FailureKind.UNAVAILABLE, FailureKind.QUOTA_EXHAUSTED)
    retry_after = read_retry_after(headers, now or datetime.now(UTC)) if waits else None
    return ProviderFailure(provider, kind, f"{answer}: {advice}", retry_after, status=status, code=code)


def _kind(status: int, codes: set[str], key_statuses: Collection[int]) -> FailureKind:
    if status == 402 or (status in (400, 401, 403, 429) and codes & QUOTA_CODES):
        return FailureKind.QUOTA_EXHAUSTED
    if status in key_statuses or (status == 400 and codes & KEY_CODES):
        return FailureKind.UNAUTHORIZED
    if status == 429:
        return FailureKind.RATE_LIMITED
    if status == 408:
        return FailureKind.TIMEOUT
    if status >= 500:
        return FailureKind.UNAVAILABLE
    return FailureKind.REFUSED if status >= 400 else FailureKind.BAD_RESPONSE


def read_codes(body: bytes) -> list[str]:
    """The short codes in a JSON body, the most specific first; empty when it is no JSON."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return []
    found = [
        (_CODE_FIELDS.index(field), value)
        for field, value in _fields(document)
        if field in _CODE_FIELDS and isinstance(value, str) and len(value) <= 60 and _CODE.fullmatch(value)
    ]
    return list(dict.fromkeys(value for _, value in sorted(found, key=lambda entry: entry[0])))


def _fields(document: Any) -> Iterator[tuple[str, Any]]:
    """The fields of a document at a limited depth, at most _MAX_NODES."""
    pending, nodes = [(document, 0)], 0
    while pending and nodes < _MAX_NODES:
        node, depth = pending.pop()
        nodes += 1
        if depth > _MAX_DEPTH:
            continue
        if isinstance(node, dict):
            yield from node.items()
            pending += [(value, depth + 1) for value in node.values()]
        elif isinstance(node, list):
            pending += [(value, depth + 1) for value in node]


def read_retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The time until the provider accepts calls, at most an hour; None when the headers do not name one.

    Retry-After has seconds or an HTTP date; x-ratelimit-reset has seconds, or a Unix time.
    """
    value = headers.get("retry-after", "").strip()
    if value and (seconds := _read_number(value)) is not None:
        return _limit(seconds)
    if value:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        return _limit((moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
    if (seconds := _read_number(headers.get("x-ratelimit-reset", ""))) is not None:
        return _limit(seconds - now.timestamp() if seconds > 1e9 else seconds)
    return None


def _read_number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", text.strip()) else None


def _limit(seconds: float) -> timedelta:
    return timedelta(seconds=min(max(seconds, 1.0), MAX_PAUSE.total_seconds()))
