"""Preview: a mix coded so that it can be streamed while the picture is still being drawn."""

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

CODED = "preview.mp4"
# The header is shorter than this.
HEAD_BYTES = 4096


@dataclass(frozen=True)
class Preview:
    """A mix that can be streamed."""

    audio: Any
    """The stored sound: a fragmented MP4 with one fragment of AAC."""
    header_bytes: int
    """How long the header is: what is before the fragment."""


class Objects(Protocol):
    """Stored objects."""

    async def head(self, key: str) -> Any: ...

    async def get_file(self, source: Any, path: Path) -> None: ...

    async def get_bytes(self, key: str, offset: int = 0, length: int = 0) -> bytes: ...

    async def put_file(self, key: str, path: Path) -> Any: ...


async def encode(program: Path, version: str, objects: Objects, mix: Any, folder: Path) -> Preview:
    """Code a mix, or find what was coded before. `version` is what ffmpeg says of itself."""
    digest = hashlib.sha256(f"{version}\n{mix.sha256}".encode()).hexdigest()
    key = f"cache/audio/preview-{digest}.mp4"
    if found := await objects.head(key):
        # A damaged one is coded again.
        with suppress(NotFound):
            return Preview(found, _header_bytes(await objects.get_bytes(key, 0, HEAD_BYTES)))
    await objects.get_file(mix, folder / "mix.wav")
    coded = ffmpeg.input("mix.wav", f="wav")["a:0"].output(
        CODED, acodec="aac", audio_bitrate="160k", movflags="+cmaf+frag_custom+skip_trailer", fflags="+bitexact"
    )
    await loudness.run(program, coded, seconds=1.0, folder=folder)
    with (folder / CODED).open("rb") as file:
        header_bytes = _header_bytes(file.read(HEAD_BYTES))
    return Preview(await objects.put_file(key, folder / CODED), header_bytes)


def _header_bytes(head: bytes) -> int:
    """Where the first fragment begins."""
    for kind, content in iterate_boxes(head):
        if kind == b"moof":
            return content - BOX_HEADER_BYTES
    raise Internal("a sound that was coded for streaming has no fragment", reason="INTERNAL")
