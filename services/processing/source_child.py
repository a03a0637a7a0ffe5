"""The process that opens a clip or picture: it is limited, alone, and prints one line of JSON.

Run by path with `python -I`; imports nothing of the platform. Arguments: the file, the formats and
protocols that are allowed, and the most pixels of a video and of a picture. It prints the fields of
`Source`; a file that cannot be opened ends it with its reason.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

import av
import av.error
import av.video.stream
from av.stream import Disposition

# As ffmpeg numbers them.
MATRIX_RGB, UNSPECIFIED, PRIMARIES_BT2020, PROGRESSIVE = 0, 2, 9, 1
# Transfers of HDR: PQ and HLG.
HDR_TRANSFERS = {16: "smpte2084", 18: "arib-std-b67"}

# Pictures begin like this, and are opened as nothing else.
STARTS = ((b"\x89PNG\r\n\x1a\n", "png_pipe"), (b"\xff\xd8\xff", "jpeg_pipe"), (b"GIF8", "gif"))
WEBP, WEBP_ANIMATION = "webp_pipe", "webp_anim"
STILL_FORMATS = {"png_pipe", "jpeg_pipe", WEBP}

# The decoders that see the transparent parts; those that are ffmpeg's first choice do not.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

# So many packets are read for the first pictures; so many pictures tell whether it is interlaced.
MAX_PACKETS, LOOKED_AT = 1000, 3


def look(path: str, formats: str, protocols: str, video_pixels: str, still_pixels: str) -> dict[str, Any]:
    """What must be known of a file. Raises FFmpegError and SystemExit."""
    with open(path, "rb") as file:
        head = file.read(30)
    form = _picture_format(head)
    max_pixels = int(still_pixels if form in STILL_FORMATS else video_pixels)
    if form == WEBP_ANIMATION:
        return _webp_animation(head, max_pixels)
    options = {"format_whitelist": form or formats, "protocol_whitelist": protocols, "max_pixels": str(max_pixels)}
    with av.open(path, format=form or None, options=options) as container:
        for stream in container.streams.video:
            if Disposition.attached_pic not in stream.disposition and stream.codec_context is not None:
                return {**_facts(container, stream, max_pixels), "format": form, "still": form in STILL_FORMATS}
    sys.exit("it has no picture")


def _picture_format(head: bytes) -> str:
    """The one format that a picture is opened as; empty for a video."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP_ANIMATION if head[12:16] == b"VP8X" and len(head) == 30 and head[20] & 2 else WEBP
    return next((form for start, form in STARTS if head.startswith(start)), "")


def _webp_animation(head: bytes, max_pixels: int) -> dict[str, Any]:
    """The facts of an animated WebP, from its header: PyAV's ffmpeg cannot open it, ours can."""
    width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
    _check_size(width, height, max_pixels)
    return {"width": width, "height": height, "has_matrix": True, "has_alpha": True, "format": WEBP_ANIMATION}


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        sys.exit(f"its picture of {width}x{height} has more than {max_pixels} pixels, the most that are taken")


def _facts(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, max_pixels: int
) -> dict[str, Any]:
    context = stream.codec_context
    _check_size(context.width, context.height, max_pixels)
    tagged = stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) == "1"
    context.options = {"max_pixels": str(max_pixels)}
    context.thread_count = 1
    frames = _frames(container, stream)
    if not frames:
        sys.exit("its first picture cannot be decoded")
    frame = frames[0]
    matrix, primaries = (
        int(getattr(frame, name)) if int(getattr(frame, name)) != UNSPECIFIED else int(getattr(context, name))
        for name in ("colorspace", "color_primaries")
    )
    transfer = HDR_TRANSFERS.get(int(frame.color_trc)) or HDR_TRANSFERS.get(int(context.color_trc), "")
    return {
        "width": frame.width,
        "height": frame.height,
        "has_matrix": matrix != UNSPECIFIED or frame.format.is_rgb,
        "has_primaries": primaries != UNSPECIFIED,
        "has_alpha": tagged or any(component.is_alpha for component in frame.format.components),
        "decoder": ALPHA_DECODERS.get(context.codec.canonical_name, "") if tagged else "",
        "interlaced": context.field_order > PROGRESSIVE or any(frame.interlaced_frame for frame in frames),
        "hdr_transfer": transfer,
        "wide_gamut": primaries == PRIMARIES_BT2020 or bool(transfer),
    }


def _frames(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> list[av.VideoFrame]:
    """The first pictures that can be decoded."""
    frames: list[av.VideoFrame] = []
    for count, packet in enumerate(container.demux(stream)):
        with suppress(av.error.InvalidDataError):
            frames += packet.decode()
        if len(frames) >= LOOKED_AT or count >= MAX_PACKETS:
            break
    return frames


def main() -> None:
    try:
        print(json.dumps(look(*sys.argv[1:])))
    except av.error.FFmpegError as failure:
        sys.exit(failure.strerror)


if __name__ == "__main__":
    main()
