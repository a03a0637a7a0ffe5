"""Digests: an upload that arrives as something else than was sent is refused, and kept nowhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator

import pytest

from moneyprinter.errors import InvalidArgument
from services.orchestrator.videos import digests

CHUNKS = (b"four tides", b" a day", b"")
BYTES = b"".join(CHUNKS)
SHA256 = hashlib.sha256(BYTES)
MD5 = base64.b64encode(hashlib.md5(BYTES, usedforsecurity=False).digest()).decode()
SHA256_TEXT = base64.b64encode(SHA256.digest()).decode()
SHA512_TEXT = base64.b64encode(hashlib.sha512(BYTES).digest()).decode()


async def sent(headers: dict[str, object]) -> bytes:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in CHUNKS:
            yield chunk

    return b"".join([chunk async for chunk in digests.checked(chunks(), headers)])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-md5": MD5},
        {"x-content-sha256": SHA256.hexdigest()},
        {"x-content-sha256": SHA256.hexdigest().upper()},
        {"content-digest": f"sha-256=:{SHA256_TEXT}:"},
        {"repr-digest": f"sha-512=:{SHA512_TEXT}:, sha-256=:{SHA256_TEXT}:"},
        {"repr-digest": f"crc32c=:AAAA:, md5=:{MD5}:"},
        {"content-md5": MD5, "x-content-sha256": SHA256.hexdigest()},
    ],
    ids=str,
)
async def test_what_is_true_is_taken(headers: dict[str, object]) -> None:
    assert await sent(headers) == BYTES


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"content-md5": base64.b64encode(bytes(16)).decode()}, "content-md5"),
        ({"content-md5": "x"}, "content-md5"),
        ({"content-md5": base64.b64encode(bytes(8)).decode()}, "content-md5"),
        ({"x-content-sha256": "0" * 64}, "x-content-sha256"),
        ({"x-content-sha256": "abc"}, "x-content-sha256"),
        ({"content-digest": f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"}, "content-digest"),
        ({"repr-digest": f"sha-256={SHA256_TEXT}"}, "repr-digest"),
        ({"repr-digest": f"sha-256=:{SHA256_TEXT}:, sha-512=:{SHA256_TEXT}:"}, "repr-digest"),
        ({"content-md5": MD5, "x-content-sha256": "0" * 64}, "x-content-sha256"),
    ],
    ids=str,
)
async def test_what_is_false_or_no_digest_is_refused_by_name(headers: dict[str, object], name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await sent(headers)
    assert [violation.field for violation in refused.value.violations] == [name]
