"""Digests: compare the bytes of an upload with the digests in its HTTP headers.

The headers are `content-md5` (RFC 1864), `content-digest`, `repr-digest` (RFC 9530) and `x-content-sha256`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import AsyncIterator, Mapping

from services.orchestrator.videos.violations import invalid_field

_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512", "md5": "md5"}
_MEMBER = re.compile(r"\s*([a-z0-9-]+)=:([A-Za-z0-9+/=]*):\s*")
_BYTES = {"md5": 16, "sha256": 32, "sha512": 64}


def parse_digests(headers: Mapping[str, object]) -> list[tuple[str, str, bytes]]:
    """Returns the digests in headers: the name of the header, the algorithm of hashlib, and the digest.

    Unknown algorithms are ignored. Raises `InvalidArgument` for a malformed digest.
    """
    found = []
    if (given := headers.get("content-md5")) is not None:
        found.append(("content-md5", "md5", _base64("content-md5", str(given))))
    if (given := headers.get("x-content-sha256")) is not None:
        if not re.fullmatch("[0-9a-fA-F]{64}", str(given)):
            raise invalid_field("x-content-sha256", "is not a SHA-256 in hexadecimal")
        found.append(("x-content-sha256", "sha256", bytes.fromhex(str(given))))
    for name in ("content-digest", "repr-digest"):
        for member in str(headers.get(name, "")).split(",") if headers.get(name) else ():
            member_match = _MEMBER.fullmatch(member)
            if member_match is None:
                raise invalid_field(name, "is not written as in sha-256=:...:, with base64 between the colons")
            if algorithm := _ALGORITHMS.get(member_match[1]):
                found.append((name, algorithm, _base64(name, member_match[2])))
    for name, algorithm, digest in found:
        if len(digest) != _BYTES[algorithm]:
            raise invalid_field(name, f"has {len(digest)} bytes, not {_BYTES[algorithm]}")
    return found


async def verify_digests(chunks: AsyncIterator[bytes], headers: Mapping[str, object]) -> AsyncIterator[bytes]:
    """Yield the chunks. Raises `InvalidArgument` after the last one when their digest differs from a header's."""
    digests = parse_digests(headers)
    hashes = {algorithm: hashlib.new(algorithm, usedforsecurity=False) for _, algorithm, _ in digests}
    async for chunk in chunks:
        for running in hashes.values():
            running.update(chunk)
        yield chunk
    for name, algorithm, digest in digests:
        if hashes[algorithm].digest() != digest:
            raise invalid_field(name, "is not the digest of the bytes that arrived; send the file again")


def _base64(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        raise invalid_field(name, "is not base64") from None
