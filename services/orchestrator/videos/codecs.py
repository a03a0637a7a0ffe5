"""Codecs: the RFC 6381 names of the streams of an MP4, read from its header, for the `CODECS` attribute of HLS."""

from __future__ import annotations

_LENGTH = 4


def codec_names(header: bytes) -> list[str]:
    """Returns the names of the codecs that a header declares, for example `avc1.64001f`. Unknown codecs have none."""
    readers = {b"avcC": _avc, b"hvcC": _hevc, b"vpcC": _vp9, b"av1C": _av1}
    found = []
    for box, read in readers.items():
        at = header.find(box)
        if at >= 0:
            found.append(read(header[at + _LENGTH : at + _LENGTH + 32]))
    if b"esds" in header:
        # All AAC here is AAC-LC.
        found.append("mp4a.40.2")
    if b"dOps" in header:
        found.append("opus")
    return found


def _avc(record: bytes) -> str:
    """ISO/IEC 14496-15, 5.3.3.1: version, profile, compatibility, level."""
    return f"avc1.{record[1:4].hex()}"


def _hevc(record: bytes) -> str:
    """ISO/IEC 14496-15, E.3: the compatibility flags in reverse order, constraints without their last zeros."""
    space, tier, profile = record[1] >> 6, record[1] >> 5 & 1, record[1] & 31
    flags = int(f"{int.from_bytes(record[2:6]):032b}"[::-1], 2)
    constraints = "".join(f".{byte:x}" for byte in record[6:12].rstrip(b"\0"))
    return f"hvc1.{'ABC'[space - 1] if space else ''}{profile}.{flags:x}.{'LH'[tier]}{record[12]}{constraints}"


def _vp9(record: bytes) -> str:
    """VP codec ISO media file format binding: after version and flags, profile, level, and the depth in four bits."""
    return f"vp09.{record[4]:02}.{record[5]:02}.{record[6] >> 4:02}"


def _av1(record: bytes) -> str:
    """AV1 codec ISO media file format binding, 2.3.3."""
    profile, level, high, tier, twelve = (
        record[1] >> 5,
        record[1] & 31,
        record[2] >> 6 & 1,
        record[2] >> 7,
        record[2] >> 5 & 1,
    )
    depth = 12 if high and twelve else 10 if high else 8
    return f"av01.{profile}.{level:02}{'MH'[tier]}.{depth:02}"
