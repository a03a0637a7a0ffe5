"""Preview: encode a mix so that clients can stream it before the pictures are rendered."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ffmpeg

from moneyprinter.errors import Internal, NotFound
from services.audio import loudness
from services.media.boxes import BOX_HEADER_BYTES, iterate_boxes

PREVIEW_FILE = "preview.mp4"
# The maximum size of the header.
HEAD_BYTES = 4096


@dataclass(frozen=True)
class Preview:
    """A mix that can be streamed."""

    audio: Any
    """The stored sound: a fragmented MP4 with one fragment of AAC."""
    header_bytes: int
    """The size of the header, which precedes the fragment."""


class Objects(Protocol):
    """The object store."""

    async def head(self, key: str) -> Any: ...

    async def get_file(self, source: Any, path: Path) -> None: ...

    async def get_bytes(self, key: str, offset: int = 0, length: int = 0) -> bytes: ...

    async def put_file(self, key: str, path: Path) -> Any: ...


async def encode_preview(program: Path, version: str, objects: Objects, mix: Any, folder: Path) -> Preview:
    """Encode a mix, or return the stored result of an earlier call.

    Args:
        program: The ffmpeg program.
        version: The version of ffmpeg, which is part of the key of the result.
        objects: The object store.
        mix: The stored mix.
        folder: The folder of temporary files.

    Raises `Internal` when ffmpeg fails, or its output has no fragment.
    """
    digest = hashlib.sha256(f"{version}\n{mix.sha256}".encode()).hexdigest()
    key = f"cache/audio/preview-{digest}.mp4"
    if stored := await objects.head(key):
        # A damaged result is encoded again.
        with suppress(NotFound):
            return Preview(stored, _header_bytes(await objects.get_bytes(key, 0, HEAD_BYTES)))
    await objects.get_file(mix, folder / "mix.wav")
    encoded = ffmpeg.input("mix.wav", f="wav")["a:0"].output(
        PREVIEW_FILE, acodec="aac", audio_bitrate="160k", movflags="+cmaf+frag_custom+skip_trailer", fflags="+bitexact"
    )
    await loudness.process_sound(program, encoded, seconds=1.0, folder=folder)
    with (folder / PREVIEW_FILE).open("rb") as file:
        header_bytes = _header_bytes(file.read(HEAD_BYTES))
    return Preview(await objects.put_file(key, folder / PREVIEW_FILE), header_bytes)


def _header_bytes(head: bytes) -> int:
    """The offset of the first fragment."""
    for kind, content in iterate_boxes(head):
        if kind == b"moof":
            return content - BOX_HEADER_BYTES
    raise Internal("a sound that was encoded for streaming has no fragment", reason="INTERNAL")
