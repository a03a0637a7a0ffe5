"""Zoo: one small source of every kind that users have, made with ffmpeg at its first use.

Most members show four quarters (red, green / blue, white), so that their size, their way up and their colours
are seen. `python -m tests.media.zoo FOLDER` makes all of them.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.media import CORNERS, ffmpeg
from tests.mesh import ffmpeg_program

SIZE = (128, 72)
SECONDS = 0.6

Pixels = NDArray[np.float64]
Make = Callable[["Zoo", Path], None]

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "8", "-pix_fmt", "yuv420p")


@dataclass(frozen=True)
class Member:
    """A source, and what is to be found out about it."""

    make: Make
    codec: str
    size: tuple[int, int] = SIZE
    """As it is displayed."""
    rate: float = 25.0
    has_audio: bool = False
    still: bool = False
    quarters: tuple[str, str, str, str] | None = ("red", "lime", "blue", "white")
    """The colours at the top left, top right, bottom left and bottom right; None: it shows something else."""
    tolerance: int = 24
    """How far its colours may be from these, of 255."""


class Zoo:
    """A folder of sources by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> Path:
        path = self._folder / name
        if not path.exists():
            MEMBERS[name].make(self, path)
        return path


def _shown(
    *encode: str,
    picture: str = CORNERS,
    size: tuple[int, int] = SIZE,
    rate: str = "25",
    sound: str = "",
) -> Make:
    """A maker of a clip."""

    def make(zoo: Zoo, path: Path) -> None:
        del zoo
        source = picture.format(w=size[0], h=size[1], rate=rate)
        tone = ("-f", "lavfi", "-i", sound) if sound else ()
        ffmpeg("-f", "lavfi", "-t", str(SECONDS), "-i", source, *tone, "-t", str(SECONDS), *encode, path)

    return make


def _turned(degrees: int) -> Make:
    def make(zoo: Zoo, path: Path) -> None:
        ffmpeg("-display_rotation:v:0", str(degrees), "-i", zoo["h264.mp4"], "-c", "copy", path)

    return make


def _still(*encode: str, picture: str = CORNERS, size: tuple[int, int] = SIZE) -> Make:
    return _shown("-frames:v", "1", *encode, picture=picture, size=size)


# Phones write how they were held into EXIF; the numbers are those of its orientation tag.


def _exif(orientation: int) -> bytes:
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)


def _jpeg_exif(orientation: int) -> Make:
    def make(zoo: Zoo, path: Path) -> None:
        data, exif = zoo["still.jpg"].read_bytes(), b"Exif\0\0" + _exif(orientation)
        path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])

    return make


def _png_exif(orientation: int) -> Make:
    def make(zoo: Zoo, path: Path) -> None:
        data, exif = zoo["still.png"].read_bytes(), b"eXIf" + _exif(orientation)
        at = data.index(b"IDAT") - 4
        chunk = struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif))
        path.write_bytes(data[:at] + chunk + data[at:])

    return make


def _webp_exif(orientation: int) -> Make:
    def make(zoo: Zoo, path: Path) -> None:
        exif, (width, height) = _exif(orientation), SIZE
        extended = bytes([8, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        content = b"WEBPVP8X" + struct.pack("<I", len(extended)) + extended + zoo["still.webp"].read_bytes()[12:]
        content += b"EXIF" + struct.pack("<I", len(exif)) + exif
        path.write_bytes(b"RIFF" + struct.pack("<I", len(content)) + content)

    return make


def _cmyk_jpeg(zoo: Zoo, path: Path) -> None:
    """Four inks, stored upside down as Adobe does: 255 is no ink. Every block of 8x8 pixels has one colour."""
    del zoo
    quarters = ((255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (255, 255, 255, 255))
    width, height = SIZE
    before, bits = [0] * 4, ""
    for y in range(height // 8):
        for x in range(width // 8):
            stored = quarters[2 * (y * 16 >= height) + (x * 16 >= width)]
            for ink in range(4):
                level = stored[ink] - 128
                step, before[ink] = level - before[ink], level
                length = abs(step).bit_length()
                # How many bits the step has, the step, and that nothing follows.
                bits += f"{length:04b}" + (f"{step if step > 0 else step + 2**length - 1:0{length}b}" if length else "")
                bits += "0"
    bits += "1" * (-len(bits) % 8)
    inks = (1, 2, 3, 4)
    segments = (
        (0xEE, b"Adobe\0\x64\0\0\0\0\0"),
        (0xDB, bytes([0, 8]) + bytes([1]) * 63),
        (0xC0, struct.pack(">BHHB", 8, height, width, 4) + b"".join(bytes([ink, 0x11, 0]) for ink in inks)),
        (0xC4, bytes([0, 0, 0, 0, 12, *[0] * 12, *range(12)])),
        (0xC4, bytes([0x10, 1, *[0] * 15, 0])),
        (0xDA, bytes([4, *(byte for ink in inks for byte in (ink, 0)), 0, 63, 0])),
    )
    head = b"".join(bytes([0xFF, mark]) + struct.pack(">H", len(body) + 2) + body for mark, body in segments)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    path.write_bytes(b"\xff\xd8" + head + data + b"\xff\xd9")


# HDR: what screens are to show, in nits: a grey card and paper white above, a red and a green below.
HDR_NITS = ((26, 26, 26), (203, 203, 203), (203, 0, 0), (0, 203, 0))
_BT2020_OF_BT709 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
_BT2020_LUMINANCE = np.array([0.2627, 0.6780, 0.0593])


def _pq(nits: Pixels) -> Pixels:
    light = (nits / 10_000) ** (2610 / 16384)
    coded: Pixels = ((3424 / 4096 + 2413 / 128 * light) / (1 + 2392 / 128 * light)) ** (2523 / 32)
    return coded


def _hlg(nits: Pixels) -> Pixels:
    """For a screen of 1000 nits, whose system gamma is 1.2."""
    luminance = nits @ _BT2020_LUMINANCE
    scene = nits / 1000 * (luminance / 1000) ** (1 / 1.2 - 1)
    above = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    coded: Pixels = np.where(scene <= 1 / 12, np.sqrt(3 * scene), above)
    return coded


def _hdr(code: Callable[[Pixels], Pixels], transfer: str, *encode: str, size: tuple[int, int] = SIZE) -> Make:
    def make(zoo: Zoo, path: Path) -> None:
        del zoo
        width, height = size
        picture = np.zeros((height, width, 3))
        for place, nits in enumerate(HDR_NITS):
            rows = slice(height // 2, None) if place > 1 else slice(height // 2)
            columns = slice(width // 2, None) if place % 2 else slice(width // 2)
            picture[rows, columns] = code(_BT2020_OF_BT709 @ np.array(nits, dtype=float))
        frames = (picture * 65535).round().astype("<u2").tobytes() * 15
        says = f"colorspace=bt2020nc:color_primaries=bt2020:color_trc={transfer}:range=tv"
        chain = f"scale=out_color_matrix=bt2020nc:out_range=tv,format=yuv420p10le,setparams={says}"
        source = ("-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", f"{width}x{height}", "-r", "25", "-i", "-")
        command = (ffmpeg_program(), "-loglevel", "error", "-y", *source, "-vf", chain, *encode, path)
        subprocess.run([str(part) for part in command], input=frames, check=True)

    return make


X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-crf", "5", "-x265-params", "log-level=none")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M")
AV1 = ("-c:v", "libsvtav1", "-preset", "12", "-crf", "20", "-svtav1-params", "lp=1")
PRORES = ("-c:v", "prores_ks", "-profile:v", "standard", "-pix_fmt", "yuv422p10le")

# Black bars that wander to the right, four pixels each field.
_WANDERING = (
    "color=black:s={w}x{h}:r=50,format=yuv420p,"
    "geq=lum='if(lt(mod(X-N*4+6400\\,32)\\,16)\\,235\\,16)':cb=128:cr=128,interlace=lowpass=off"
)
_INTERLACED = ("-flags", "+ildct+ilme")
# A black block of 8x8 wanders to the right, 8 pixels each frame (whose `n` is 1 for the first).
_MOVING = CORNERS + "[a];color=black:s=8x8:r={rate}[b];[a][b]overlay=x=8*(n-1):y=24"
# White, opaque on the left, half at the top right, and transparent at the bottom right.
_GLASS = (
    "color=white:s={w}x{h}:r={rate},format=rgba,"
    "geq=r=255:g=255:b=255:a='if(lt(X\\,W/2)\\,255\\,if(lt(Y\\,H/2)\\,128\\,0))'"
)
_CUT_OUT = (
    "color=red:s={w}x{h}:r={rate}:d=0.1,format=rgba,geq=r=255:g=0:b=0:a='255*lt(X\\,W/2)',"
    "split[a][b];[a]palettegen[c];[b][c]paletteuse"
)
GLASS = ("white", "grey", "white", "black")
CUT_OUT = ("red", "black", "red", "black")
UPSIDE_DOWN = ("white", "blue", "lime", "red")
TO_THE_LEFT = ("lime", "white", "red", "blue")
TO_THE_RIGHT = ("blue", "red", "white", "lime")
TALL = (SIZE[1], SIZE[0])

_TONE = "sine=440:r={rate}:d=1,aformat=channel_layouts={layout}"


def _heard(rate: int, layout: str, *codec: str) -> Make:
    return _shown(*H264, *codec, "-ar", str(rate), sound=_TONE.format(rate=rate, layout=layout))


MEMBERS: dict[str, Member] = {
    # Codecs and containers.
    "h264.mp4": Member(_shown(*H264), "h264"),
    "h264.mov": Member(_shown(*H264), "h264"),
    "h264.mkv": Member(_shown(*H264), "h264"),
    "h264.ts": Member(_shown(*H264), "h264"),
    "h264.flv": Member(_shown(*H264), "h264"),
    "h265.mp4": Member(_shown(*X265, "-pix_fmt", "yuv420p", "-tag:v", "hvc1"), "hevc"),
    "vp8.webm": Member(_shown("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "2M"), "vp8"),
    "vp9.webm": Member(_shown(*VP9), "vp9"),
    "av1.mp4": Member(_shown(*AV1), "av1"),
    "av1.webm": Member(_shown(*AV1), "av1"),
    "mpeg4.avi": Member(_shown("-c:v", "mpeg4", "-q:v", "2"), "mpeg4"),
    "mpeg2.ts": Member(_shown("-c:v", "mpeg2video", "-q:v", "2"), "mpeg2video"),
    "mjpeg.avi": Member(_shown("-c:v", "mjpeg", "-q:v", "2"), "mjpeg"),
    "prores.mov": Member(_shown(*PRORES), "prores"),
    # Frame rates.
    "23976.mp4": Member(_shown(*H264, rate="24000/1001"), "h264", rate=24000 / 1001),
    "60.mp4": Member(_shown(*H264, rate="60"), "h264", rate=60),
    "120.mp4": Member(_shown(*H264, rate="120"), "h264", rate=120),
    "240.mp4": Member(_shown(*H264, rate="240"), "h264", rate=240),
    "variable.mp4": Member(
        _shown("-vf", "select='not(mod(n,3))+not(mod(n,7))'", "-fps_mode", "vfr", *H264, rate="50"), "h264", rate=22
    ),
    # Shapes.
    "turned90.mp4": Member(_turned(90), "h264", TALL, quarters=TO_THE_LEFT),
    "turned180.mp4": Member(_turned(180), "h264", quarters=UPSIDE_DOWN),
    "turned270.mov": Member(_turned(270), "h264", TALL, quarters=TO_THE_RIGHT),
    "odd.mkv": Member(_shown("-c:v", "ffv1", "-pix_fmt", "yuv420p", size=(127, 71)), "ffv1", (127, 71)),
    "odd.webm": Member(_shown(*VP9, size=(127, 71)), "vp9", (127, 71)),
    "wide.mp4": Member(_shown("-vf", "scale=64:72,setsar=2", *H264), "h264"),
    "narrow.ts": Member(_shown("-vf", "scale=128:72,setsar=8/9", *H264), "h264", (114, 72)),
    # Depths and colours.
    "10bit.mp4": Member(_shown(*X265, "-pix_fmt", "yuv420p10le"), "hevc"),
    "444.mp4": Member(_shown("-c:v", "libx264", "-preset", "ultrafast", "-qp", "8", "-pix_fmt", "yuv444p"), "h264"),
    "full.mp4": Member(
        _shown("-vf", "scale=out_range=pc:out_color_matrix=bt709,format=yuv420p", *H264, "-color_range", "pc"), "h264"
    ),
    "wide_gamut.mkv": Member(
        _shown(
            "-vf",
            "format=gbrp,setparams=color_primaries=bt709:color_trc=bt709,"
            "zscale=p=bt2020:t=bt2020-10:m=bt2020nc:r=tv,format=yuv420p10le",
            *VP9,
            "-pix_fmt",
            "yuv420p10le",
        ),
        "vp9",
    ),
    "pq.mp4": Member(_hdr(_pq, "smpte2084", *X265), "hevc", quarters=None),
    "hlg.mov": Member(_hdr(_hlg, "arib-std-b67", *X265), "hevc", quarters=None),
    "pq_odd.mkv": Member(_hdr(_pq, "smpte2084", *VP9, size=(127, 71)), "vp9", (127, 71), quarters=None),
    # Fields.
    "interlaced.ts": Member(
        _shown("-c:v", "mpeg2video", "-q:v", "2", *_INTERLACED, picture=_WANDERING), "mpeg2video", quarters=None
    ),
    "interlaced.mp4": Member(_shown(*H264, *_INTERLACED, picture=_WANDERING), "h264", quarters=None),
    # Sound.
    "mono8.avi": Member(_heard(8000, "mono", "-c:a", "pcm_s16le"), "h264", has_audio=True),
    "stereo44.mp4": Member(_heard(44100, "stereo", "-c:a", "aac"), "h264", has_audio=True),
    "surround48.mkv": Member(_heard(48000, "5.1", "-c:a", "aac"), "h264", has_audio=True),
    "stereo96.mov": Member(_heard(96000, "stereo", "-c:a", "pcm_s24le"), "h264", has_audio=True),
    # What shines through.
    "glass.mov": Member(
        _shown("-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le", picture=_GLASS),
        "prores",
        quarters=GLASS,
    ),
    "glass_rle.mov": Member(_shown("-c:v", "qtrle", picture=_GLASS), "qtrle", quarters=GLASS),
    "glass.webm": Member(_shown(*VP9, "-pix_fmt", "yuva420p", picture=_GLASS), "vp9", quarters=GLASS),
    "glass.png": Member(_still(picture=_GLASS), "png", still=True, quarters=GLASS),
    "glass.webp": Member(_still("-pix_fmt", "yuva420p", picture=_GLASS), "webp", still=True, quarters=GLASS),
    "cut_out.gif": Member(_still(picture=_CUT_OUT), "gif", still=True, quarters=CUT_OUT),
    # Animations.
    "moving.gif": Member(_shown(picture=_MOVING), "gif"),
    "moving.webp": Member(
        _shown("-c:v", "libwebp_anim", "-lossless", "1", picture=_MOVING),
        "webp",
    ),
    # Pictures.
    "still.png": Member(_still(), "png", still=True),
    "still16.png": Member(_still("-pix_fmt", "rgb48be"), "png", still=True),
    "palette.png": Member(_still("-pix_fmt", "pal8"), "png", still=True, tolerance=40),
    "large.png": Member(_still(size=(1280, 720)), "png", (1280, 720), still=True),
    "still.jpg": Member(_still("-q:v", "2"), "mjpeg", still=True),
    "large.jpg": Member(_still("-q:v", "2", size=(1280, 720)), "mjpeg", (1280, 720), still=True),
    "still.webp": Member(_still(), "webp", still=True),
    "still.gif": Member(_still(), "gif", still=True),
    "odd.jpg": Member(_still("-q:v", "2", size=(127, 71)), "mjpeg", (127, 71), still=True),
    "exif3.jpg": Member(_jpeg_exif(3), "mjpeg", still=True, quarters=UPSIDE_DOWN),
    "exif6.jpg": Member(_jpeg_exif(6), "mjpeg", TALL, still=True, quarters=TO_THE_RIGHT),
    "exif8.jpg": Member(_jpeg_exif(8), "mjpeg", TALL, still=True, quarters=TO_THE_LEFT),
    "exif6.png": Member(_png_exif(6), "png", TALL, still=True, quarters=TO_THE_RIGHT),
    "exif6.webp": Member(_webp_exif(6), "webp", TALL, still=True, quarters=TO_THE_RIGHT),
    "cmyk.jpg": Member(_cmyk_jpeg, "mjpeg", still=True),
}


def main() -> None:
    """Make all members in the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    zoo = Zoo(folder)
    for name in MEMBERS:
        print(zoo[name])


if __name__ == "__main__":
    main()
