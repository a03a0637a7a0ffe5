"""The process that reads a clip, which may be made to harm: it is limited, alone, and prints one line of JSON.

Run by path with `python -I`; imports nothing of the platform. Arguments: the file, and JSON with
`max_pixels`, `max_still_pixels`, `max_duration_seconds`, `start_seconds` and `end_seconds` (null: the
clip's end). It prints the facts of a good clip, or `reason` and `message`. Everything that is cheap to
check is checked before anything is decoded.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from typing import IO, Any

import av
import av.container
import av.error
import av.video.stream
from av.stream import Disposition

PROTOCOLS = "file"
FORMATS = "mov,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg"
# Pictures begin like this, and are opened as nothing else; of these, GIF and WebP may move.
PICTURE_STARTS = ((b"\x89PNG\r\n\x1a\n", "png_pipe"), (b"\xff\xd8\xff", "jpeg_pipe"), (b"GIF8", "gif"))
WEBP, WEBP_ANIMATION = "webp_pipe", "webp_anim"
# What an animated WebP shows for less than this is shown so long, as browsers and ffmpeg have it.
WEBP_MIN_MILLISECONDS, WEBP_SHOWN_MILLISECONDS = 11, 100
MAX_FRAMES_PER_SECOND = 1000
# How far the last packet may be from the end that the file's header promises.
PROMISE_SECONDS = 0.5
END_TOLERANCE_SECONDS = 0.05
# Formats whose header tells a length that was written when the file was whole.
PROMISING = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv"}
# A picture must come from this many packets, or the file is damaged.
MAX_PACKETS = 1000
# How far before the wanted end a picture is looked for: not every format finds the last key frame by itself.
LOOK_BACK_SECONDS = (0.0, 2.0, 10.0, 30.0)
# So many pictures tell whether a video is interlaced.
LOOKED_AT = 3

# As ffmpeg numbers them.
UNSPECIFIED, PRIMARIES_BT2020, PROGRESSIVE = 2, 9, 1
# Transfers of HDR: PQ and HLG.
HDR_TRANSFERS = {16: "smpte2084", 18: "arib-std-b67"}
# The decoders that see the transparent parts; those that are ffmpeg's first choice do not.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

# Where a video may be cut is told no more finely than this.
KEY_FRAME_SECONDS, MAX_KEY_FRAMES = 0.5, 1000
# An index may tell when a picture is decoded, which is so many frames before it is shown.
REORDERED_FRAMES = 3

_CLONE_NEWNET, _CLONE_NEWUSER = 0x40000000, 0x10000000


class Refused(Exception):
    """The clip cannot be used: reason, message."""


@dataclass(frozen=True)
class Wanted:
    """What is checked of a clip."""

    max_pixels: int
    max_still_pixels: int
    max_duration_seconds: float
    start_seconds: float
    end_seconds: float | None


def probe(path: str, wanted: Wanted) -> dict[str, Any]:
    """Read a clip and return its facts. Raises Refused."""
    with open(path, "rb") as file:
        head = file.read(30)
        form = _picture_format(head)
        if form == WEBP and head[12:16] == b"VP8X" and len(head) == 30 and head[20] & 2:
            return _webp_animation(file, wanted)
    still = replace(wanted, max_pixels=wanted.max_still_pixels)
    # A few bytes can be a huge picture.
    if form == "png_pipe":
        _check_pixels(int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"), still)
    if form == "gif" and any(head[6:10]):
        _check_pixels(int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little"), still)
    if form and (form != "gif" or not _moves(path, form)):
        with _opened(path, form, still) as container:
            return _still(container, form, still)
    with _opened(path, form, wanted) as container:
        return _examine(container, form, os.stat(path).st_size, wanted)


def _opened(path: str, form: str, wanted: Wanted) -> av.container.InputContainer:
    options = {"protocol_whitelist": PROTOCOLS, "format_whitelist": form or FORMATS}
    if not form:
        options["max_pixels"] = str(wanted.max_pixels)
    try:
        # What titles and authors are written in, nobody says; of no use here, and no reason to refuse a video.
        return av.open(path, "r", format=form or None, options=options, metadata_errors="replace")
    except av.error.FFmpegError:
        raise Refused("CLIP_NOT_PLAYABLE", _unopened(path)) from None


def _moves(path: str, form: str) -> bool:
    """Whether a picture has more than one frame."""
    options = {"protocol_whitelist": PROTOCOLS, "format_whitelist": form}
    with av.open(path, "r", format=form, options=options, metadata_errors="replace") as container:
        return sum(1 for packet in islice(container.demux(video=0), 2) if packet.size) > 1


def _picture_format(head: bytes) -> str:
    """The one format that a picture is opened as; empty for a video."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    return next((form for start, form in PICTURE_STARTS if head.startswith(start)), "")


def _unopened(path: str) -> str:
    with open(path, "rb") as file:
        head = file.read(12)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return "the file is cut off or damaged: it begins as an MP4 or MOV, and its index cannot be read"
    if head.startswith((b"\x1a\x45\xdf\xa3", b"RIFF")):
        return "the file is damaged: it begins as a video, and what follows cannot be read"
    if _picture_format(head):
        return "the file is damaged: it begins as a picture, and what follows cannot be read"
    return "the file is not a video or picture of a known kind"


def _examine(container: av.container.InputContainer, form: str, size_bytes: int, wanted: Wanted) -> dict[str, Any]:
    stream = _video(container)
    width, height = stream.codec_context.width, stream.codec_context.height
    _check_pixels(width, height, wanted)
    duration = (container.duration or 0) / 1_000_000
    _check_duration(duration, wanted)
    rate = _rate(stream)
    end_of_index = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
    if end_of_index > size_bytes:
        raise Refused(
            "CLIP_NOT_PLAYABLE",
            f"the file is cut off: it has {size_bytes} bytes, and its index names pictures up to byte {end_of_index}",
        )

    frames = _pictures(container, stream, wanted, LOOKED_AT)
    if not frames:
        raise Refused("CLIP_NOT_PLAYABLE", "the file is damaged: its first picture cannot be decoded")
    frame = frames[0]
    _check_pixels(frame.width, frame.height, wanted)
    origin = frame.time if container.start_time is None else container.start_time / 1_000_000

    promised = max(duration, float(stream.frames / rate)) if container.format.name == "avi" else duration
    video_end, last_end = _ends(container, stream, promised + origin, rate)
    length = video_end - origin
    if container.format.name in PROMISING and last_end - origin < promised - PROMISE_SECONDS:
        raise Refused(
            "CLIP_NOT_PLAYABLE",
            f"the file is cut off: it ends after {last_end - origin:.2f} s of the {promised:.2f} s that it promises",
        )
    if length <= 0:
        raise Refused("CLIP_NOT_PLAYABLE", "the video has no length")
    _check_duration(length, wanted)
    end = _check_range(length, wanted)

    if not _picture_before(container, stream, origin, end - 1 / float(rate), wanted):
        raise Refused("CLIP_NOT_PLAYABLE", f"the file is damaged: its picture at {end:.2f} s cannot be decoded")
    width, height = _displayed(frame, stream)
    return {
        "duration_seconds": round(length, 6),
        "width": width,
        "height": height,
        "rate_numerator": rate.numerator,
        "rate_denominator": rate.denominator,
        "video_codec": stream.codec_context.codec.canonical_name,
        "has_audio": bool(container.streams.audio),
        "audio_codec": _audio_codec(container),
        "rotation": -frame.rotation % 360,
        "key_seconds": _key_frames(stream, origin, (wanted.start_seconds, end), rate),
        "picture": {**_seen(stream, frames), "format": form},
    }


def _still(container: av.container.InputContainer, form: str, wanted: Wanted) -> dict[str, Any]:
    """The facts of a picture that does not move. It is decoded whole."""
    stream = _video(container)
    context = stream.codec_context
    if context.width * context.height:
        _check_pixels(context.width, context.height, wanted)
    context.options = {"max_pixels": str(wanted.max_pixels)}
    if context.codec.canonical_name == "mjpeg":
        # What is missing at the end would be made up.
        context.options = {**context.options, "err_detect": "explode"}
    context.thread_count = 1
    context.open()
    frames = _pictures(container, stream, wanted, 1)
    if not frames or frames[0].is_corrupt:
        raise Refused("CLIP_NOT_PLAYABLE", "the file is damaged or cut off: its picture cannot be decoded")
    frame = frames[0]
    _check_pixels(frame.width, frame.height, wanted)
    _check_no_part(wanted)
    width, height = _displayed(frame, stream)
    return {
        "still": True,
        "width": width,
        "height": height,
        "video_codec": context.codec.canonical_name,
        "has_audio": False,
        "rotation": -frame.rotation % 360,
        "picture": {**_seen(stream, frames), "format": form, "still": True},
    }


def _audio_codec(container: av.container.InputContainer) -> str:
    """The codec of its sound, if it has sound of a known kind."""
    contexts = [stream.codec_context for stream in container.streams.audio[:1]]
    return next((context.codec.canonical_name for context in contexts if context), "")


def _seen(stream: av.video.stream.VideoStream, frames: Sequence[av.VideoFrame]) -> dict[str, Any]:
    """What must be known of a picture before it is drawn."""
    context, frame = stream.codec_context, frames[0]
    tagged = stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) == "1"
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


def _key_frames(
    stream: av.video.stream.VideoStream, origin: float, part: tuple[float, float], rate: Fraction
) -> list[float]:
    """From when on decoding can begin in a part of the clip, as far as its index tells."""
    if not stream.time_base:
        return []
    start, end = part
    apart = max(KEY_FRAME_SECONDS, (end - start) / MAX_KEY_FRAMES)
    found: list[float] = []
    for entry in stream.index_entries:
        if entry.is_keyframe:
            seconds = float(entry.timestamp * stream.time_base) - origin + REORDERED_FRAMES / float(rate)
            if start <= seconds < end and (not found or seconds - found[-1] >= apart):
                found.append(round(seconds, 6))
    return found


def _displayed(frame: av.VideoFrame, stream: av.video.stream.VideoStream) -> tuple[int, int]:
    """The width and height that people see: with square pixels, upright."""
    shape = stream.sample_aspect_ratio or Fraction(1)
    width, height = max(1, round(frame.width * shape)), frame.height
    return (height, width) if frame.rotation % 180 else (width, height)


def _webp_animation(file: IO[bytes], wanted: Wanted) -> dict[str, Any]:
    """The facts of an animated WebP. PyAV's ffmpeg cannot open it; each of its frames is a WebP, which it can."""
    file.seek(24)
    width, height = _uint24(file.read(3)) + 1, _uint24(file.read(3)) + 1
    _check_pixels(width, height, wanted)
    count, milliseconds = 0, 0
    for kind, size in _chunks(file):
        if kind != b"ANMF":
            continue
        header = file.read(min(16, size))
        shown = _uint24(header[12:15])
        milliseconds += shown if shown >= WEBP_MIN_MILLISECONDS else WEBP_SHOWN_MILLISECONDS
        count += 1
        if count == 1:
            _check_webp_frame(header, file.read(size - len(header)), wanted)
    if not count:
        raise Refused("CLIP_NOT_PLAYABLE", "the file is damaged: it promises an animation, and holds no picture")
    _check_duration(milliseconds / 1000, wanted)
    _check_range(milliseconds / 1000, wanted)
    rate = Fraction(count * 1000, milliseconds).limit_denominator(100_000)
    return {
        "duration_seconds": milliseconds / 1000,
        "width": width,
        "height": height,
        "rate_numerator": rate.numerator,
        "rate_denominator": rate.denominator,
        "video_codec": "webp",
        "has_audio": False,
        "picture": {
            "width": width,
            "height": height,
            "has_matrix": True,
            "has_primaries": True,
            "has_alpha": True,
            "format": WEBP_ANIMATION,
        },
    }


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """The chunks of a RIFF file: kind and size, with the file at the beginning of each's content."""
    end = os.fstat(file.fileno()).st_size
    at = 12
    while at + 8 <= end:
        file.seek(at)
        kind, size = file.read(4), int.from_bytes(file.read(4), "little")
        if at + 8 + size > end:
            raise Refused("CLIP_NOT_PLAYABLE", f"the file is cut off: it has {end} bytes, and its content goes further")
        yield kind, size
        at += 8 + size + size % 2


def _check_webp_frame(header: bytes, content: bytes, wanted: Wanted) -> None:
    """Decode a frame of an animation as the picture that it is."""
    # ALPHA is the flag of a picture with an alpha chunk, which must be told.
    flags = b"\x10" if content[:4] == b"ALPH" else b"\0"
    extended = b"VP8X" + (10).to_bytes(4, "little") + flags + bytes(3) + header[6:12]
    riff = b"WEBP" + extended + content
    data = io.BytesIO(b"RIFF" + len(riff).to_bytes(4, "little") + riff)
    options = {"format_whitelist": WEBP, "protocol_whitelist": PROTOCOLS, "max_pixels": str(wanted.max_pixels)}
    with av.open(data, "r", format=WEBP, options=options, metadata_errors="replace") as container:
        if not _pictures(container, _video(container), wanted, 1):
            raise Refused("CLIP_NOT_PLAYABLE", "the file is damaged: its first picture cannot be decoded")


def _uint24(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _video(container: av.container.InputContainer) -> av.video.stream.VideoStream:
    for stream in container.streams.video:
        if Disposition.attached_pic in stream.disposition:
            continue
        # PyAV knows no context where ffmpeg knows no decoder.
        if stream.codec_context is None:
            raise Refused("CLIP_NOT_PLAYABLE", "the video is coded in a way that is not supported")
        return stream
    if container.streams.audio:
        raise Refused("CLIP_NOT_PLAYABLE", "the file holds sound and no picture")
    raise Refused("CLIP_NOT_PLAYABLE", "the file holds no video")


def _check_pixels(width: int, height: int, wanted: Wanted) -> None:
    if width < 1 or height < 1:
        raise Refused("CLIP_NOT_PLAYABLE", "the file is damaged: the size of its picture cannot be read")
    if width * height > wanted.max_pixels:
        raise Refused(
            "CLIP_TOO_LARGE",
            f"the picture has {width}x{height} pixels; at most {wanted.max_pixels} "
            f"({wanted.max_pixels / 1e6:.1f} million) are taken",
        )


def _check_duration(seconds: float, wanted: Wanted) -> None:
    if seconds > wanted.max_duration_seconds:
        raise Refused(
            "CLIP_TOO_LARGE", f"the clip is {seconds:.0f} s long; at most {wanted.max_duration_seconds:.0f} s are taken"
        )


def _rate(stream: av.video.stream.VideoStream) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate or Fraction(1)
    if rate > MAX_FRAMES_PER_SECOND:
        raise Refused(
            "CLIP_TOO_LARGE",
            f"the clip claims {float(rate):.0f} frames a second; at most {MAX_FRAMES_PER_SECOND} are taken",
        )
    return rate.limit_denominator(100_000) or Fraction(1, 100_000)


def _pictures(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, wanted: Wanted, count: int
) -> list[av.VideoFrame]:
    """The next pictures that can be decoded, up to `count`."""
    context = stream.codec_context
    if not context.is_open:
        # What the header says of the size need not be what the pictures say.
        context.options = {"max_pixels": str(wanted.max_pixels)}
        context.thread_count = 1
    frames: list[av.VideoFrame] = []
    for read, packet in enumerate(container.demux(stream)):
        with suppress(av.error.InvalidDataError):
            frames += packet.decode()
        if len(frames) >= count or read >= MAX_PACKETS:
            break
    return frames[:count]


def _picture_before(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    origin: float,
    seconds: float,
    wanted: Wanted,
) -> bool:
    """Whether a picture shortly before `seconds` can be decoded."""
    for back in LOOK_BACK_SECONDS:
        _seek(container, stream, origin + max(0.0, seconds - back))
        if _pictures(container, stream, wanted, 1):
            return True
    return False


def _ends(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, near: float, rate: Fraction
) -> tuple[float, float]:
    """When the last picture ends, and when the last packet of all: seconds, found by reading, not by trusting."""
    video_end = last_end = 0.0
    # Without an index, some formats find nothing near their end; then all is read.
    for start in (near, 0.0):
        _seek(container, stream, start)
        for packet in _packets(container):
            time = packet.pts if packet.pts is not None else packet.dts
            if time is None or not packet.time_base:
                continue
            duration = float((packet.duration or 0) * packet.time_base)
            if packet.stream_index == stream.index:
                video_end = max(video_end, float(time * packet.time_base) + (duration or 1 / float(rate)))
            last_end = max(last_end, float(time * packet.time_base) + duration, video_end)
        if video_end:
            break
    return video_end, last_end


def _packets(container: av.container.InputContainer) -> Iterator[av.Packet[Any]]:
    try:
        yield from container.demux()
    except av.error.FFmpegError:
        return


def _seek(container: av.container.InputContainer, stream: av.video.stream.VideoStream, seconds: float) -> None:
    try:
        container.seek(int(seconds / (stream.time_base or Fraction(1, 1000))), stream=stream)
    except av.error.FFmpegError:
        # No index, or a broken one: reading goes on from where it is.
        return


def _check_range(length: float, wanted: Wanted) -> float:
    """The end of the wanted part in seconds."""
    if wanted.start_seconds >= length:
        raise Refused(
            "CLIP_RANGE_INVALID",
            f"the wanted part starts at {wanted.start_seconds:.2f} s, and the clip is only {length:.2f} s long",
        )
    end = length if wanted.end_seconds is None else wanted.end_seconds
    if end > length + END_TOLERANCE_SECONDS:
        raise Refused(
            "CLIP_RANGE_INVALID",
            f"the wanted part ends at {end:.2f} s, and the clip is only {length:.2f} s long",
        )
    return min(end, length)


def _check_no_part(wanted: Wanted) -> None:
    if wanted.start_seconds > 0 or wanted.end_seconds is not None:
        raise Refused("CLIP_RANGE_INVALID", "a picture has no start and end time; leave them out")


def _leave_network() -> None:
    """Move to a network of its own without a way out, where the system lets us: the formats allow none anyway."""
    unshare = ctypes.CDLL(None).unshare
    if unshare(_CLONE_NEWNET) != 0:
        unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def main() -> None:
    _leave_network()
    try:
        answer = probe(sys.argv[1], Wanted(**json.loads(sys.argv[2])))
    except Refused as refused:
        answer = dict(zip(("reason", "message"), refused.args, strict=True))
    except MemoryError:
        answer = {"reason": "CLIP_TOO_LARGE", "message": "reading the clip takes more memory than it is given"}
    except av.error.FFmpegError as failure:
        answer = {"reason": "CLIP_NOT_PLAYABLE", "message": f"the file is damaged: {failure.strerror}"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
