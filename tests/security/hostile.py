"""Hostile files, each written by a few lines here. All damage is deterministic, from fixed seeds.

`write_files(folder, footage, trap)` writes all of them. `EITHER` names those that may turn out to be valid video, and
`HONEST` those that are valid.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.security.traps import CANARY
from tests.validation.footage import Footage

# One of each accepted container and image format.
KINDS = {
    "mp4": "good.mp4",
    "fragments": "fragmented.mp4",
    "mov": "turned.mov",
    "mkv": "good.mkv",
    "webm": "good.webm",
    "avi": "good.avi",
    "ts": "good.ts",
    "gif": "moving.gif",
    "png": "still.png",
    "webp": "moving.webp",
    "jpg": "still.jpg",
}


@dataclass(frozen=True)
class Bait:
    """The inputs of hostile files, and the traps that they try to reach."""

    footage: Footage
    secret: Path
    """The path of the file with the canary."""
    port: int
    """The port of the trap."""

    def good(self, name: str) -> bytes:
        return self.footage[name].read_bytes()


Make = Callable[[Bait], bytes]


def box(kind: bytes, *parts: bytes) -> bytes:
    """An atom of MP4."""
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def element(number: int, *parts: bytes) -> bytes:
    """An element of Matroska."""
    body = b"".join(parts)
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return name + (1 << 56 | len(body)).to_bytes(8, "big") + body


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colours: int, *chunks: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def zeros(megabytes: int) -> bytes:
    """The given number of megabytes of zeros, deflated, without deflating all of them."""
    packer = zlib.compressobj(9)
    begin = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return begin + block * megabytes + packer.flush()


def fuzzed(name: str, seed: int, first: int | None = None, part: float = 0.01) -> Make:
    """Change a fraction `part` of the bytes, at least four, of the whole file or of its first `first` bytes."""

    def make(bait: Bait) -> bytes:
        data, chance = bytearray(bait.good(name)), random.Random(f"{name} {seed}")
        end = min(first or len(data), len(data))
        for _ in range(max(4, int(end * part))):
            data[chance.randrange(end)] = chance.randrange(256)
        return bytes(data)

    return make


def cut(name: str, seed: int) -> Make:
    def make(bait: Bait) -> bytes:
        data = bait.good(name)
        return data[: random.Random(f"{name} {seed}").randrange(len(data) // 10, len(data) * 6 // 10)]

    return make


def patched(name: str, mark: bytes, offset: int, value: bytes) -> Make:
    """Overwrite bytes at an offset after the last occurrence of `mark`, or after the first in a file other than MP4."""

    def make(bait: Bait) -> bytes:
        data = bytearray(bait.good(name))
        at = (data.rindex(mark) if name.endswith(".mp4") else data.index(mark)) + offset
        data[at : at + len(value)] = value
        return bytes(data)

    return make


def text(words: str) -> Make:
    """A text with the path of the secret and the port of the trap filled in."""
    return lambda bait: words.replace("SECRET", str(bait.secret)).replace("PORT", str(bait.port)).encode()


def after(name: str, more: bytes) -> Make:
    return lambda bait: bait.good(name) + more


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("../../etc/cron.d/x", "* * * * * root true")
        made.writestr("zeros", bytes(1 << 20))
    return file.getvalue()


def _moov(data: bytes) -> tuple[int, int]:
    at = data.index(b"moov") - 4
    return at, at + int.from_bytes(data[at : at + 4], "big")


def _track(data: bytes) -> bytes:
    at = data.index(b"trak") - 4
    return data[at : at + int.from_bytes(data[at : at + 4], "big")]


def many_tracks(count: int) -> Make:
    def make(bait: Bait) -> bytes:
        data = bait.good("silent.mp4")
        start, end = _moov(data)
        return data[:start] + box(b"moov", data[start + 8 : end], _track(data) * count) + data[end:]

    return make


def without_frames(bait: Bait) -> bytes:
    """An index without frames."""
    data = bait.good("silent.mp4")
    for table in (b"stts", b"stsz", b"stsc", b"stco", b"ctts", b"stss"):
        at = data.find(table)
        if at > 0:
            place = at + (12 if table == b"stsz" else 8)
            data = data[:place] + bytes(4) + data[place + 4 :]
    return data


def nested(kind: bytes, depth: int) -> Make:
    """Nested atoms, each with the length of its content."""

    def make(bait: Bait) -> bytes:
        del bait
        sizes = (struct.pack(">I", 8 * (depth - level)) + kind for level in range(depth))
        return box(b"ftyp", b"isom\0\0\0\0isom") + b"".join(sizes)

    return make


def matroska(*tracks_and_more: bytes) -> bytes:
    head = element(0x1A45DFA3, element(0x4282, b"matroska"), element(0x4287, b"\4"), element(0x4285, b"\2"))
    info = element(0x1549A966, element(0x2AD7B1, (1_000_000).to_bytes(3, "big")))
    return head + element(0x18538067, info, *tracks_and_more)


def track(number: int, *more: bytes, codec: bytes = b"V_MJPEG") -> bytes:
    size = element(0xE0, element(0xB0, b"\1\x40"), element(0xBA, b"\0\xb4"))
    named = element(0xD7, number.to_bytes(2, "big")) + element(0x73C5, number.to_bytes(2, "big"))
    return element(0xAE, named, element(0x83, b"\1"), element(0x86, codec), size, *more)


def cluster(*blocks: bytes) -> bytes:
    framed = (element(0xA3, b"\x81", struct.pack(">hB", place, 0x80), block) for place, block in enumerate(blocks))
    return element(0x1F43B675, element(0xE7, b"\0"), *framed)


def deflated_frames(bait: Bait) -> bytes:
    """Deflated frames that are endless when they are inflated."""
    packed = element(0x6D80, element(0x6240, element(0x5034, element(0x4254, b"\0"))))
    return matroska(element(0x1654AE6B, track(1, packed)), cluster(zeros(200), zeros(200)))


def deep_matroska(bait: Bait) -> bytes:
    tags = b""
    for _ in range(2000):
        tags = element(0x67C8, tags)
    return matroska(element(0x1254C367, element(0x7373, tags)), element(0x1654AE6B, track(1)), cluster(b""))


def gif(width: int, height: int, frames: int = 1) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\2\x4c\1\0"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + frame * frames + b";"


def jpeg(width: int, height: int) -> bytes:
    size = struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\1\x11\0"
    return b"\xff\xd8\xff\xc0" + size + b"\xff\xda\0\x08\1\1\0\0?\0" + bytes(500) + b"\xff\xd9"


def riff(kind: bytes, *parts: bytes) -> bytes:
    body = kind + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def part(kind: bytes, body: bytes) -> bytes:
    """A chunk of RIFF."""
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def webp(width: int, height: int, frames: int) -> bytes:
    """An animation of `frames` one-pixel frames, or with a header that claims so."""
    extended = b"\2\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    frame = bytes(6) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + b"\1\0\0\0"
    still = part(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) & 0x3FFF | ((height - 1) & 0x3FFF) << 14) + bytes(40))
    return riff(b"WEBP", part(b"VP8X", extended), part(b"ANIM", bytes(6)), part(b"ANMF", frame + still) * frames)


def packed_index(bait: Bait) -> bytes:
    """An endless deflated index, a form of old QuickTime files."""
    packed = box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", struct.pack(">I", 0xFFFFFF0), zeros(250)))
    return box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"moov", packed)


def elsewhere(bait: Bait, kind: bytes, place: bytes) -> bytes:
    """A QuickTime file that refers to frames in another file."""
    data = bait.good("silent.mp4")
    at = data.index(b"dref") - 4
    entry = box(b"dref", bytes(4), struct.pack(">I", 1), box(kind, bytes(4), place))
    grown = len(entry) - int.from_bytes(data[at : at + 4], "big")
    for holder in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        size = data.index(holder) - 4
        new = int.from_bytes(data[size : size + 4], "big") + grown
        data = data[:size] + struct.pack(">I", new) + data[size + 4 :]
    return data[:at] + entry + data[at + len(entry) - grown :]


M3U8 = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nPLACE\n#EXT-X-ENDLIST\n"
MPD = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>PLACE</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>"
)
SVG = (
    '<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file://SECRET">]><svg xmlns="http://www.w3.org/2000/svg">'
    '<image href="http://127.0.0.1:PORT/"/><text>&x;</text></svg>'
)
TRAP, FILE = "http://127.0.0.1:PORT/a.ts", "file://SECRET"

FILES: dict[str, Make] = {
    # Truncated and damaged files.
    **{f"cut.{kind}": cut(name, 1) for kind, name in KINDS.items()},
    **{f"fuzzed.{kind}": fuzzed(name, 1) for kind, name in KINDS.items()},
    **{f"fuzzed-head.{kind}": fuzzed(name, 2, first=400, part=0.05) for kind, name in KINDS.items()},
    # A few bytes that expand to very many.
    "pixels.png": lambda bait: png(30_000, 30_000, 8, 0, chunk(b"IDAT", zeros(900))),
    "deep-pixels.png": lambda bait: png(8000, 6000, 16, 6, chunk(b"IDAT", zeros(370))),
    "colours.png": lambda bait: png(64, 64, 8, 0, chunk(b"iCCP", b"x\0\0" + zeros(600)), chunk(b"IDAT", zeros(1))),
    "words.png": lambda bait: png(64, 64, 8, 0, chunk(b"zTXt", b"x\0\0" + zeros(600)), chunk(b"IDAT", zeros(1))),
    "most.png": lambda bait: png(2**31 - 1, 2**31 - 1, 8, 0, chunk(b"IDAT", zeros(1))),
    "nothing.png": lambda bait: png(0, 0, 8, 0, chunk(b"IDAT", zeros(1))),
    "pixels.gif": lambda bait: gif(65_535, 65_535),
    "moving-pixels.gif": lambda bait: gif(65_535, 65_535, 3),
    "many-frames.gif": lambda bait: gif(4000, 2000, 20_000),
    "pixels.jpg": lambda bait: jpeg(65_500, 65_500),
    "pixels.webp": lambda bait: webp(1 << 24, 1 << 24, 1),
    "one-picture-of-pixels.webp": lambda bait: webp(16_384, 16_384, 1),
    "many-frames.webp": lambda bait: webp(1, 1, 20_000),
    "deflated.mkv": deflated_frames,
    "deflated.mov": packed_index,
    "pixels.mp4": patched("silent.mp4", b"avc1", 28, b"\xff\xff\xff\xff"),
    # Missing parts, and more parts than possible.
    "no-frames.mp4": without_frames,
    "no-frames.webp": lambda bait: webp(64, 64, 0),
    "no-width.mp4": patched("silent.mp4", b"avc1", 28, bytes(4)),
    "no-timescale.mp4": patched("silent.mp4", b"mdhd", 16, bytes(4)),
    "rate.mp4": patched("silent.mp4", b"mdhd", 16, b"\x7f\xff\xff\xff"),
    "length.mp4": patched("silent.mp4", b"stts", 16, b"\x7f\xff\xff\xff"),
    "no-rate.avi": patched("good.avi", b"vids", 20, bytes(8)),
    "rate.avi": patched("good.avi", b"vids", 20, struct.pack("<II", 1, 0x7FFFFFFF)),
    "scale.avi": patched("good.avi", b"vids", 20, struct.pack("<II", 0x7FFFFFFF, 1)),
    "scale.mkv": patched("good.mkv", b"\x2a\xd7\xb1", 3, b"\x88" + b"\x7f" * 8),
    "tracks.mp4": many_tracks(5000),
    "tracks.mkv": lambda bait: matroska(element(0x1654AE6B, *map(track, range(1, 8000))), cluster(b"")),
    "nested.mp4": nested(b"moov", 200_000),
    "nested-tracks.mov": nested(b"trak", 200_000),
    "nested.mkv": deep_matroska,
    # False sizes.
    "entries.mp4": patched("silent.mp4", b"stsz", 12, b"\xff\xff\xff\xff"),
    "times.mp4": patched("silent.mp4", b"stts", 8, b"\x3f\xff\xff\xff"),
    "places.mp4": patched("silent.mp4", b"stco", 8, b"\x3f\xff\xff\xff"),
    "sizes.mp4": patched("silent.mp4", b"stsz", 16, b"\x7f\xff\xff\xff" * 50),
    "index.mp4": patched("faststart.mp4", b"moov", -4, b"\xff\xff\xff\xff"),
    "wide.mp4": lambda bait: struct.pack(">I", 1) + b"moov" + b"\x7f" + b"\xff" * 7 + bait.good("silent.mp4"),
    "list.avi": patched("good.avi", b"LIST", 4, b"\xff\xff\xff\xff"),
    "chunk.webp": patched("moving.webp", b"ANMF", 4, b"\xff\xff\xff\x7f"),
    "unknown.mkv": lambda bait: matroska(element(0x1654AE6B, track(1)))[:-1] + b"\x1f\x43\xb6\x75\x01" + b"\xff" * 7,
    # Playlists and other references to files.
    "file.m3u8.mp4": text(M3U8.replace("PLACE", FILE)),
    "web.m3u8.mp4": text(M3U8.replace("PLACE", TRAP)),
    "late.m3u8.mp4": lambda bait: b"\0\0\0\x08free" + text(M3U8.replace("PLACE", TRAP))(bait),
    "key.m3u8.mp4": text(M3U8.replace("#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{TRAP}"\n#EXTINF')),
    "file.ffconcat.mp4": text("ffconcat version 1.0\nfile 'SECRET'\n"),
    "web.ffconcat.mp4": text(f"ffconcat version 1.0\nfile '{TRAP}'\n"),
    "file.mpd.mp4": text(MPD.replace("PLACE", FILE)),
    "web.mpd.mp4": text(MPD.replace("PLACE", TRAP)),
    "sdp.mp4": text(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video PORT RTP/AVP 96\r\n"
    ),
    "pls.mp4": text(f"[playlist]\nFile1={TRAP}\nNumberOfEntries=1\n"),
    "asx.wmv": text(f'<asx version="3.0"><entry><ref href="{TRAP}"/></entry></asx>'),
    "smil.mov": text(f'<smil><body><video src="{TRAP}"/></body></smil>'),
    "avisynth.avi": text('DirectShowSource("SECRET")\n'),
    "metadata.mp4": text(";FFMETADATA1\ntitle=x\n[CHAPTER]\nSTART=0\nEND=1\n"),
    "alias.mov": lambda bait: elsewhere(bait, b"url ", text(f"{TRAP}\0")(bait)),
    "reference.mov": lambda bait: (
        box(b"ftyp", b"qt  \0\0\0\0qt  ")
        + box(b"moov", box(b"rmra", box(b"rmda", box(b"rdrf", bytes(4), b"url ", text(f"\0\0\0\x20{TRAP}\0")(bait)))))
    ),
    "linked.mkv": lambda bait: matroska(
        element(0x1549A966, element(0x3EB923, bytes(16)), element(0x3E83BB, text(FILE)(bait)))
    ),
    # Other kinds of files.
    "subtitles.mp4": text("1\n00:00:00,000 --> 00:00:01,000\n<font face='SECRET'>Hello</font>\n"),
    "script.mp4": text("[Script Info]\n[Events]\nDialogue: 0,0:00:00.00,0:00:01.00,,,0,0,0,,{\\fnSECRET\\p1}m 0 0\n"),
    "picture.svg.png": text(SVG),
    "archive.mp4": lambda bait: archive(),
    "program.mp4": lambda bait: b"\x7fELF\2\1\1" + bytes(9) + bytes(range(256)) * 20,
    "shell.mp4": text("#!/bin/sh\ncat SECRET\n"),
    "document.mp4": lambda bait: b"%PDF-1.7\n" + bytes(500),
    "noise.ts": lambda bait: random.Random(3).randbytes(100_000),
    "sync.ts": lambda bait: (b"G" + random.Random(4).randbytes(187)) * 500,
    "nothing.mp4": lambda bait: bytes(100_000),
    # Polyglots.
    "script.gif": lambda bait: b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)//;",
    "archive-after.mp4": after("silent.mp4", archive()),
    "page-after.jpg": after("still.jpg", b"<script>alert(1)</script><?php system('id'); ?>"),
    "playlist-after.gif": after("moving.gif", b"\n#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/\n"),
}

HONEST = {"archive-after.mp4", "page-after.jpg", "playlist-after.gif"}
EITHER = {name for name in FILES if name.startswith("fuzzed")} | {
    # These formats have no end marker, so a truncated file is still valid.
    *("cut.ts", "cut.gif"),
    # The damaged part is unnecessary or redundant, so the file still has a picture.
    *("words.png", "many-frames.gif", "no-timescale.mp4", "places.mp4", "index.mp4", "list.avi", "alias.mov"),
    *("pixels.mp4", "no-width.mp4", "no-rate.avi"),
}


def write_files(folder: Path, footage: Footage, port: int) -> list[Path]:
    """Write all files into a folder; returns their paths."""
    secret = folder / "secret"
    secret.write_text(f"{CANARY}\n" * 20)
    bait = Bait(footage, secret, port)
    for name, make in FILES.items():
        (folder / name).write_bytes(make(bait))
    return [folder / name for name in FILES]
