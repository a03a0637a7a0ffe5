"""Digests: an upload whose bytes differ from its digests is refused, and not stored."""

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


async def upload(headers: dict[str, object]) -> bytes:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in CHUNKS:
            yield chunk

    return b"".join([chunk async for chunk in digests.verify_digests(chunks(), headers)])


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
async def test_an_upload_with_matching_digests_is_accepted(headers: dict[str, object]) -> None:
    assert await upload(headers) == BYTES


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
async def test_a_wrong_or_malformed_digest_is_refused_with_its_header(headers: dict[str, object], name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await upload(headers)
    assert [violation.field for violation in refused.value.violations] == [name]
