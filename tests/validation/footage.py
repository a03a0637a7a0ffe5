"""Footage: small clips of every kind, good and bad, each made on first use."""

from __future__ import annotations

import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

from tests.mesh import ffmpeg_program

PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=2")
MOVING = ("-f", "lavfi", "-i", "testsrc2=s=160x90:r=10:d=1")
SOUND = ("-f", "lavfi", "-i", "sine=d=2")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


class Footage:
    """A folder of clips by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._makers: dict[str, Callable[[Path], None]] = {
            "good.mp4": lambda path: _ffmpeg(*PICTURE, *SOUND, *H264, "-g", "10", "-c:a", "aac", path),
            "silent.mp4": lambda path: _ffmpeg("-i", self["good.mp4"], "-an", "-c", "copy", path),
            "faststart.mp4": lambda path: self._copy("good.mp4", path, "-movflags", "+faststart"),
            "fragmented.mp4": lambda path: self._copy("good.mp4", path, "-movflags", "frag_keyframe+empty_moov"),
            "good.mkv": lambda path: self._copy("good.mp4", path),
            "good.ts": lambda path: self._copy("good.mp4", path),
            "good.avi": lambda path: _ffmpeg("-i", self["good.mp4"], "-c:v", "mpeg4", "-c:a", "mp3", path),
            "good.webm": lambda path: _ffmpeg(
                *PICTURE, "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", path
            ),
            "live.webm": lambda path: self._copy("good.webm", path, "-live", "1"),
            "turned.mov": lambda path: _ffmpeg("-display_rotation", "90", "-i", self["good.mp4"], "-c", "copy", path),
            "variable.mp4": lambda path: _ffmpeg(
                *PICTURE, "-vf", "select='lt(n,20)+not(mod(n,5))'", "-fps_mode", "vfr", *H264, path
            ),
            "empty.mp4": lambda path: _write(path, b""),
            "text.mp4": lambda path: _write(path, "Dear diary, the café was closed.\n".encode() * 200),
            "page.mp4": lambda path: _write(path, b"<!DOCTYPE html><html>Watch</html>"),
            "noise.mp4": lambda path: _write(path, bytes(range(256)) * 64),
            "picture.mp4": lambda path: _ffmpeg(*PICTURE, "-frames:v", "1", "-f", "image2", "-c:v", "png", path),
            "still.png": _still,
            "still.jpg": _still,
            "still.webp": _still,
            "still.gif": _still,
            "moving.gif": lambda path: _ffmpeg(*MOVING, path),
            "moving.webp": lambda path: _ffmpeg(*MOVING, "-c:v", "libwebp_anim", path),
            "anamorphic.mp4": lambda path: _ffmpeg(*PICTURE, "-vf", "scale=160:180,setsar=2", *H264, path),
            "cut.png": lambda path: self._cut("still.png", path, 0.6),
            "cut.jpg": lambda path: self._cut("still.jpg", path, 0.6),
            "cut.webp": lambda path: self._cut("still.webp", path, 0.6),
            "cutmoving.webp": lambda path: self._cut("moving.webp", path, 0.6),
            "huge.png": _bomb,
            "huge.gif": lambda path: _write(path, b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(3) + b";"),
            "sound.mp4": lambda path: _ffmpeg(*SOUND, "-c:a", "aac", path),
            "sound.mp3": lambda path: _ffmpeg(*SOUND, "-c:a", "mp3", path),
            "headless.mp4": lambda path: self._cut("good.mp4", path, 0.95),
            "cut.mp4": lambda path: self._cut("faststart.mp4", path, 0.5),
            "cut.mkv": lambda path: self._cut("good.mkv", path, 0.5),
            "cut.webm": lambda path: self._cut("good.webm", path, 0.5),
            "cut.avi": lambda path: self._cut("good.avi", path, 0.5),
            "cutfragmented.mp4": lambda path: self._cut("fragmented.mp4", path, 0.5),
            "damaged.mp4": lambda path: self._overwrite("silent.mp4", path),
            # 198 KB that take 1 GB to decode.
            "huge.mp4": lambda path: _ffmpeg(
                "-f", "lavfi", "-i", "color=c=red:s=8192x8192:r=1:d=1", *H264, "-threads", "1", path
            ),
        }

    def __getitem__(self, name: str) -> Path:
        path = self._folder / name
        if not path.exists():
            self._makers[name](path)
        return path

    def _copy(self, source: str, path: Path, *options: str) -> None:
        _ffmpeg("-i", self[source], "-c", "copy", *options, path)

    def _cut(self, source: str, path: Path, part: float) -> None:
        data = self[source].read_bytes()
        path.write_bytes(data[: int(len(data) * part)])

    def _overwrite(self, source: str, path: Path) -> None:
        """Overwrite all pictures with zeros, and keep the index."""
        data = bytearray(self[source].read_bytes())
        begin = data.index(b"mdat") + 4
        end = data.index(b"moov", begin) - 4
        data[begin:end] = bytes(end - begin)
        path.write_bytes(data)


def _ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(
        [ffmpeg_program(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y", *arguments], check=True, timeout=60
    )


def _still(path: Path) -> None:
    _ffmpeg(*PICTURE, "-frames:v", "1", path)


def _bomb(path: Path) -> None:
    """A PNG of 30000x30000 pixels that takes 900 MB to decode."""
    rows = zlib.compressobj(1)
    data = b"".join([*(rows.compress(bytes(30_001)) for _ in range(1000)), rows.flush()])
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )
    )


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
