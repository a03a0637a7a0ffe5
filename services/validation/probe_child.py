"""Probe child: the isolated process that reads a clip, which may be malicious, and prints one line of JSON.

It runs with `python -I` under limits, and imports only its own modules. Its arguments are the file, and JSON with
`max_pixels`, `max_still_pixels`, `max_duration_seconds`, `start_seconds` and `end_seconds` (null: the end of the clip).
It prints the facts of a usable clip, or `reason` and `message`. Cheap checks precede the first decoding.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from typing import Any

import av
import av.container
import av.error
import av.video.stream

from services.validation import interest, lengths, orientation, tracks, webp
from services.validation.checks import (
    PROTOCOLS,
    ClipRefused,
    ProbeRequest,
    check_duration,
    check_no_part,
    check_pixels,
    check_range,
    decode,
    is_dark,
)

# A copy of `services.media.formats.CLIP_FORMATS`: this process imports nothing of the platform.
FORMATS = "mov,matroska,mpegts,mpeg,avi,flv,asf,ogg"
# The signatures of pictures, and the one format that each is opened as. PNG, GIF and WebP may be animated.
PICTURE_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png_pipe"),
    (b"\xff\xd8\xff", "jpeg_pipe"),
    (b"GIF8", "gif"),
    (b"BM", "bmp_pipe"),
    (b"II*\0", "tiff_pipe"),
    (b"MM\0*", "tiff_pipe"),
    (b"8BPS\0\1", "psd_pipe"),
)
PNG_ANIMATION = "apng"
# Formats of which one round of the animation is a video.
ANIMATIONS = ("gif", PNG_ANIMATION)
MAX_FRAMES_PER_SECOND = 1000
# Formats without an index.
STREAMS = {"mpegts", "mpeg"}
# The tolerance between the last packet and the length in the header.
HEADER_TOLERANCE_SECONDS = 0.5
# Formats whose header has the length of the complete file.
FORMATS_WITH_LENGTH = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv"}
# The steps back from a time at which a picture is sought: not every demuxer finds the last key frame before it.
LOOK_BACK_SECONDS = (0.0, 2.0, 10.0, 30.0)
# The pictures that show whether a video is interlaced.
INTERLACE_FRAMES = 3

# The pictures in addition to the first one that determine the point of interest.
FOCUS_SAMPLES = 3

# Values of ffmpeg's enums.
UNSPECIFIED, PRIMARIES_BT2020, PROGRESSIVE = 2, 9, 1
# The HDR transfer functions: PQ and HLG.
HDR_TRANSFERS = {16: "smpte2084", 18: "arib-std-b67"}
# The decoders that decode the alpha channel; ffmpeg's default decoders do not.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

# The least distance between key frames that are reported, and their maximum number.
KEY_FRAME_SECONDS, MAX_KEY_FRAMES = 0.5, 1000
# An index may have the decoding time of a picture, which is at most this many frames before its display.
REORDERED_FRAMES = 3

_CLONE_NEWNET, _CLONE_NEWUSER = 0x40000000, 0x10000000


def probe(path: str, request: ProbeRequest) -> dict[str, Any]:
    """Read a clip and return its facts. Raises `ClipRefused` when it cannot be used."""
    with open(path, "rb") as file:
        head = file.read(30)
        if webp.is_animation(head):
            return webp.probe_animation(file, request)
    format_name = _picture_format(head)
    still_request = replace(request, max_pixels=request.max_still_pixels)
    # A few bytes can decode to a huge picture.
    if format_name == "png_pipe":
        check_pixels(int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"), still_request)
        if _is_animated_png(path):
            format_name = PNG_ANIMATION
    if format_name == "gif" and any(head[6:10]):
        check_pixels(int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little"), still_request)
    if format_name in ANIMATIONS and _has_many_frames(path, format_name):
        with _open(path, format_name, request) as container:
            return _probe_animation(container, path, format_name, request)
    if format_name:
        # An animation with one frame is a still picture.
        format_name = "png_pipe" if format_name == PNG_ANIMATION else format_name
        with _open(path, format_name, still_request) as container:
            return _probe_still(container, format_name, still_request)
    with _open(path, format_name, request) as container:
        facts = _probe_video(container, os.stat(path).st_size, request)
    if facts is None:
        with _open(path, format_name, request) as container:
            return _probe_still(container, format_name, request)
    return facts


def _open(path: str, format_name: str, request: ProbeRequest) -> av.container.InputContainer:
    options = {"protocol_whitelist": PROTOCOLS, "format_whitelist": format_name or FORMATS}
    if not format_name:
        options["max_pixels"] = str(request.max_pixels)
    try:
        # Titles and authors may be in any encoding. They are not used, and are no reason to refuse a video.
        return av.open(path, "r", format=format_name or None, options=options, metadata_errors="replace")
    except av.error.FFmpegError:
        raise ClipRefused("CLIP_NOT_PLAYABLE", _describe_unreadable(path)) from None


def _has_many_frames(path: str, format_name: str) -> bool:
    """Whether a picture has more than one frame."""
    options = {"protocol_whitelist": PROTOCOLS, "format_whitelist": format_name}
    with av.open(path, "r", format=format_name, options=options, metadata_errors="replace") as container:
        return sum(1 for packet in islice(container.demux(video=0), 2) if packet.size) > 1


def _picture_format(head: bytes) -> str:
    """The one format that a picture is opened as; empty for a video."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return webp.PICTURE
    return next((format_name for signature, format_name in PICTURE_SIGNATURES if head.startswith(signature)), "")


def _describe_unreadable(path: str) -> str:
    with open(path, "rb") as file:
        head = file.read(12)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return "the file is cut off or damaged: it begins as an MP4 or MOV, and its index cannot be read"
    if head.startswith((b"\x1a\x45\xdf\xa3", b"RIFF")):
        return "the file is damaged: it begins as a video, and what follows cannot be read"
    if _picture_format(head):
        return "the file is damaged: it begins as a picture, and what follows cannot be read"
    return "the file is not a video or picture of a known kind"


def _find_focus(frames: Sequence[av.VideoFrame], oriented: orientation.Orientation) -> tuple[float, float]:
    """The point of interest of the frames that have the size of the first one, as displayed."""
    alike = [frame for frame in frames if (frame.width, frame.height) == (frames[0].width, frames[0].height)]
    try:
        return oriented.to_displayed(*interest.find_focus(alike))
    except (av.error.FFmpegError, ValueError):
        # The pixel format cannot be converted.
        return 0.5, 0.5


def _samples(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    origin: float,
    part: tuple[float, float],
    request: ProbeRequest,
) -> list[av.VideoFrame]:
    """Pictures at even distances in a part of the clip."""
    start, end = part
    frames: list[av.VideoFrame] = []
    for number in range(1, FOCUS_SAMPLES + 1):
        # A fault in the middle is no reason to refuse a clip: the renderer repeats the picture before it.
        with suppress(av.error.FFmpegError):
            lengths.seek(container, stream, origin + start + (end - start) * number / (FOCUS_SAMPLES + 1))
            frames += decode(container, stream, request, 1)
    return frames


def _is_animated_png(path: str) -> bool:
    """Whether a PNG has an animation chunk before its first picture."""
    with open(path, "rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            kind, size = head[4:], int.from_bytes(head[:4], "big")
            if kind in (b"acTL", b"IDAT"):
                return kind == b"acTL"
            file.seek(size + 4, os.SEEK_CUR)
    return False


def _probe_video(
    container: av.container.InputContainer, size_bytes: int, request: ProbeRequest
) -> dict[str, Any] | None:
    """The facts of a video; None when it is a single picture."""
    stream = _picture_stream(container)
    width, height = stream.codec_context.width, stream.codec_context.height
    check_pixels(width, height, request)
    duration = (container.duration or 0) / 1_000_000
    check_duration(duration, request)
    rate = _rate(stream)
    end_of_index = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
    if end_of_index > size_bytes:
        raise ClipRefused(
            "CLIP_NOT_PLAYABLE",
            f"the file is cut off: it has {size_bytes} bytes, and its index lists pictures up to byte {end_of_index}",
        )

    frames = decode(container, stream, request, INTERLACE_FRAMES)
    if not frames:
        raise ClipRefused("CLIP_NOT_PLAYABLE", "the file is damaged: its first picture cannot be decoded")
    frame = frames[0]
    check_pixels(frame.width, frame.height, request)
    first = frame.time or 0.0
    origin = first if container.start_time is None else container.start_time / 1_000_000
    sound = tracks.sound_track(container, stream)

    promised = max(duration, float(stream.frames / rate)) if container.format.name == "avi" else duration
    is_stream = container.format.name in STREAMS
    length = lengths.measure(
        container, stream, sound, origin=origin, first=first, promised=promised, rate=rate, whole=is_stream
    )
    has_length = container.format.name in FORMATS_WITH_LENGTH
    if has_length and length.last_packet < promised - HEADER_TOLERANCE_SECONDS:
        raise ClipRefused(
            "CLIP_NOT_PLAYABLE",
            f"the file is cut off: it ends after {length.last_packet:.2f} s of the {promised:.2f} s in its header",
        )
    if length.restart is not None:
        # Seeking by time would find one of the parts only.
        raise ClipRefused(
            "CLIP_NOT_PLAYABLE",
            f"the file is several recordings, one after the other: its times begin anew after {length.restart:.2f} s;"
            " make one of it, for example with `ffmpeg -i clip.ts -c copy clip.mp4`",
        )
    if length.seconds <= 0:
        raise ClipRefused("CLIP_NOT_PLAYABLE", "the video has no length")
    if length.single:
        return None
    check_duration(length.seconds, request)
    end = check_range(length.seconds, request)

    picture_end = min(end, length.picture_end)
    start = min(request.start_seconds, length.picture_end - 1 / float(rate))
    first_shown = _picture_before(container, stream, origin, start, request) if request.start_seconds else frame
    if not _picture_before(container, stream, origin, picture_end - 1 / float(rate), request):
        raise ClipRefused(
            "CLIP_NOT_PLAYABLE", f"the file is damaged: its picture at {picture_end:.2f} s cannot be decoded"
        )
    samples = _samples(container, stream, origin, (request.start_seconds, picture_end), request)
    shown = [first_shown, *samples] if first_shown else samples
    return {
        **_common_facts(container, stream, frames, "", length, shown),
        "sound_start": round(length.sound_start, 6) if container.format.name in STREAMS else 0.0,
        "rate_numerator": rate.numerator,
        "rate_denominator": rate.denominator,
        "has_audio": sound is not None,
        "audio_codec": sound.codec_context.codec.canonical_name if sound is not None else "",
        "sound_track": tracks.index_of(sound, container.streams.audio) if sound is not None else 0,
        "key_seconds": (
            [round(key, 6) for key in length.keys if request.start_seconds <= key < end][:MAX_KEY_FRAMES]
            if is_stream
            else _key_frames(stream, origin, (request.start_seconds, end), rate)
        ),
    }


def _probe_animation(
    container: av.container.InputContainer, path: str, format_name: str, request: ProbeRequest
) -> dict[str, Any]:
    """The facts of an animated picture."""
    stream = _picture_stream(container)
    check_pixels(stream.codec_context.width, stream.codec_context.height, request)
    rate = _rate(stream)
    frames = decode(container, stream, request, INTERLACE_FRAMES)
    if not frames:
        raise ClipRefused("CLIP_NOT_PLAYABLE", "the file is damaged: its first picture cannot be decoded")
    check_pixels(frames[0].width, frames[0].height, request)
    with _open(path, format_name, request) as reopened:
        seconds = lengths.measure_animation(reopened, _picture_stream(reopened))
    if seconds <= 0:
        raise ClipRefused("CLIP_NOT_PLAYABLE", "the animation has no length")
    check_duration(seconds, request)
    check_range(seconds, request)
    return {
        **_common_facts(
            container, stream, frames, format_name, lengths.Length(seconds, seconds, seconds, False, 0.0, 0.0)
        ),
        "rate_numerator": rate.numerator,
        "rate_denominator": rate.denominator,
    }


def _common_facts(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    frames: Sequence[av.VideoFrame],
    format_name: str,
    length: lengths.Length = lengths.Length(0.0, 0.0, 0.0, True, 0.0, 0.0),  # noqa: B008
    shown: Sequence[av.VideoFrame] = (),
) -> dict[str, Any]:
    """The facts that all kinds of clips have.

    Args:
        container: The open file.
        stream: The picture track.
        frames: The first pictures of the file.
        format_name: The format of a picture; empty for a video.
        length: The length of the clip.
        shown: Pictures of the requested part, by which darkness and point of interest are judged; empty: `frames`.
    """
    oriented = orientation.read(frames[0])
    width, height = _displayed_size(frames[0], stream, oriented)
    return {
        "duration_seconds": round(length.seconds, 6),
        "width": width,
        "height": height,
        "video_codec": stream.codec_context.codec.canonical_name,
        "rotation": oriented.rotation,
        "mirrored": oriented.mirrored,
        "source": {
            **_picture_properties(stream, frames),
            "format": format_name,
            "track": tracks.index_of(stream, container.streams.video),
            "rotation": oriented.rotation,
            "mirrored": oriented.mirrored,
            "seconds": round(length.seconds, 6),
            "dark": is_dark((shown or frames)[0]),
            **dict(zip(("focus_x", "focus_y"), _find_focus(shown or frames, oriented), strict=True)),
            "pixel_shape": round(float(stream.sample_aspect_ratio or 1), 6),
            "picture_end": round(length.picture_end, 6),
            "picture_start": round(length.picture_start, 6),
            "stream": container.format.name in STREAMS,
            "key_gap": round(length.key_gap, 6) if container.format.name in STREAMS else 0.0,
        },
    }


def _probe_still(container: av.container.InputContainer, format_name: str, request: ProbeRequest) -> dict[str, Any]:
    """The facts of a still picture, which is decoded completely."""
    stream = _picture_stream(container)
    context = stream.codec_context
    if context.width * context.height:
        check_pixels(context.width, context.height, request)
    context.options = {"max_pixels": str(request.max_pixels)}
    if context.codec.canonical_name == "mjpeg":
        # By default the decoder invents the missing end of a picture.
        context.options = {**context.options, "err_detect": "explode"}
    context.thread_count = 1
    context.open()
    frames = decode(container, stream, request, 1)
    if not frames or frames[0].is_corrupt:
        raise ClipRefused("CLIP_NOT_PLAYABLE", "the file is damaged or cut off: its picture cannot be decoded")
    frame = frames[0]
    check_pixels(frame.width, frame.height, request)
    check_no_part(request)
    facts = _common_facts(container, stream, frames, format_name)
    return {**facts, "still": True, "source": {**facts["source"], "still": True}}


def _picture_properties(stream: av.video.stream.VideoStream, frames: Sequence[av.VideoFrame]) -> dict[str, Any]:
    """Size, colour, alpha and interlacing, which the renderer needs to draw a picture."""
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
        "has_alpha": tagged or _has_alpha(frame),
        "decoder": ALPHA_DECODERS.get(context.codec.canonical_name, "") if tagged else "",
        "interlaced": context.field_order > PROGRESSIVE or any(frame.interlaced_frame for frame in frames),
        "hdr_transfer": transfer,
        "wide_gamut": primaries == PRIMARIES_BT2020 or bool(transfer),
    }


def _has_alpha(frame: av.VideoFrame) -> bool:
    """Whether a picture has an alpha channel, or a palette with a transparent colour."""
    if frame.format.name == "pal8":
        # The palette follows the pixels: 256 colours of blue, green, red and alpha.
        return min(bytes(frame.planes[1])[3::4]) < 255
    return any(component.is_alpha for component in frame.format.components)


def _key_frames(
    stream: av.video.stream.VideoStream, origin: float, part: tuple[float, float], rate: Fraction
) -> list[float]:
    """The times in seconds at which decoding can begin in a part of the clip, by its index."""
    if not stream.time_base:
        return []
    start, end = part
    distance = max(KEY_FRAME_SECONDS, (end - start) / MAX_KEY_FRAMES)
    key_frames: list[float] = []
    for entry in stream.index_entries:
        if entry.is_keyframe:
            seconds = float(entry.timestamp * stream.time_base) - origin + REORDERED_FRAMES / float(rate)
            if start <= seconds < end and (not key_frames or seconds - key_frames[-1] >= distance):
                key_frames.append(round(seconds, 6))
    return key_frames


def _displayed_size(
    frame: av.VideoFrame, stream: av.video.stream.VideoStream, oriented: orientation.Orientation
) -> tuple[int, int]:
    """The width and height in pixels as displayed: upright, with square pixels."""
    pixel_shape = stream.sample_aspect_ratio or Fraction(1)
    width, height = max(1, round(frame.width * pixel_shape)), frame.height
    return (height, width) if oriented.swaps_sides else (width, height)


def _picture_stream(container: av.container.InputContainer) -> av.video.stream.VideoStream:
    stream = tracks.picture_track(container)
    if stream is not None:
        # PyAV has no codec context when ffmpeg has no decoder.
        if stream.codec_context is None:
            raise ClipRefused("CLIP_NOT_PLAYABLE", "the video is coded in a way that is not supported")
        return stream
    if container.streams.audio:
        raise ClipRefused("CLIP_NOT_PLAYABLE", "the file holds sound and no picture")
    raise ClipRefused("CLIP_NOT_PLAYABLE", "the file holds no video")


def _rate(stream: av.video.stream.VideoStream) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate or Fraction(1)
    if rate > MAX_FRAMES_PER_SECOND:
        raise ClipRefused(
            "CLIP_TOO_LARGE",
            f"the clip claims {float(rate):.0f} frames a second; at most {MAX_FRAMES_PER_SECOND} are allowed",
        )
    return rate.limit_denominator(100_000) or Fraction(1, 100_000)


def _picture_before(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    origin: float,
    seconds: float,
    request: ProbeRequest,
) -> av.VideoFrame | None:
    """A picture shortly before a time of the clip in seconds; None when none can be decoded."""
    for back in LOOK_BACK_SECONDS:
        lengths.seek(container, stream, origin + max(0.0, seconds - back))
        if frames := decode(container, stream, request, 1):
            return frames[0]
    if seconds > LOOK_BACK_SECONDS[-1]:
        return None
    # When seeking fails, the file is read from the beginning.
    with _open(container.name, "", request) as reopened:
        number = tracks.index_of(stream, container.streams.video)
        frames = decode(reopened, reopened.streams.video[number], request, 1)
    return frames[0] if frames else None


def leave_network() -> None:
    """Move into a network namespace without interfaces, where the system allows it.

    This is a second defence: the allowed formats and protocols open no network connections.
    """
    unshare = ctypes.CDLL(None).unshare
    if unshare(_CLONE_NEWNET) != 0:
        unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def main() -> None:
    leave_network()
    try:
        answer = probe(sys.argv[1], ProbeRequest(**json.loads(sys.argv[2])))
    except ClipRefused as refused:
        answer = dict(zip(("reason", "message"), refused.args, strict=True))
    except MemoryError:
        answer = {"reason": "CLIP_TOO_LARGE", "message": "reading the clip takes more memory than the limit"}
    except av.error.FFmpegError as failure:
        answer = {"reason": "CLIP_NOT_PLAYABLE", "message": f"the file is damaged: {failure.strerror}"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
