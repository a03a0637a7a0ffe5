"""Preparation: open sources of every kind, and convert their frames to one kind.

One size, upright, progressive, opaque, BT.709: clips from phones, cameras, screens, broadcasters and designers differ
in all of these, and may change from frame to frame.

By itself ffmpeg rebuilds its filters whenever the size, the format or the colours of the frames change, and filters
that count frames then count from 0 again. It also rotates and crops frames before the first filter of a graph. Options
turn all of this off. The first filter brings every frame to one size and format. The filters after it rely on that:
some would read beyond the pixels of a frame otherwise.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from services.media.formats import CLIP_FORMATS, CLIP_PROTOCOLS
from services.processing.source import MAX_STILL_PIXELS, Source

# Deinterlacing needs the fields before the first frame shown.
FIELDS_BEFORE = timedelta(seconds=0.2)
# In a container without an index, a seek is inexact: reading starts this much, and a whole group of pictures, earlier.
STREAM_BEFORE = 0.5

# HDR's reference white of 203 nits (BT.2408) is 1.0 in linear light. Highlights of up to 1000 nits are compressed into
# the small range below SDR's white. The Mobius curve leaves values below a third of it unchanged.
HDR_WHITE_NITS = 203
HDR_PEAK = 1000 / HDR_WHITE_NITS

_BT709 = {"primaries": "bt709", "transfer": "bt709", "matrix": "bt709", "range": "tv"}


def input_options(source: Source, start: timedelta, max_pixels: int, *, looped: bool = False) -> dict[str, Any]:
    """Returns the options of ffmpeg that open a source such that time 0 is `start`.

    The frame on screen at `start` is among the frames that follow; earlier frames may precede it. With `looped`, the
    source starts again whenever it ends, as animations always do. `max_pixels` limits the frames of videos, width times
    height.
    """
    limit = max(max_pixels, MAX_STILL_PIXELS) if source.still else max_pixels
    options: dict[str, Any] = {
        "max_pixels": limit,
        "protocol_whitelist": CLIP_PROTOCOLS,
        "reinit_filter": 0,
        "noautorotate": None,
        "apply_cropping": "codec",
    }
    if source.format:
        # A picture is opened only in the format that the probe found.
        options |= {"f": source.format, "format_whitelist": source.format}
    else:
        options["format_whitelist"] = CLIP_FORMATS
    if source.decoder:
        options["c:v"] = source.decoder
    seek, offset = _seek(source, start, looped or source.is_animation)
    # ffmpeg takes a large offset of a container without an index for an error and corrects it; `shift_times` adds it.
    return options | seek | ({"itsoffset": f"{offset:.6f}"} if offset and not source.stream else {})


def shift_times(frames: Any, source: Source, start: timedelta, *, looped: bool = False) -> Any:
    """Returns the frames of a source, opened with the same arguments, at their times from `start` on."""
    _, offset = _seek(source, start, looped)
    return frames.filter("setpts", f"PTS+({offset:.6f})/TB") if source.stream and offset else frames


def _seek(source: Source, start: timedelta, looped: bool) -> tuple[dict[str, Any], float]:
    """The options that read a source from some time before `start` on, and the offset of its times in seconds."""
    # ffmpeg counts the time of a container without an index from its first frame on.
    offset = source.picture_start if source.stream else 0.0
    seek: dict[str, Any] = {}
    if looped:
        # A loop cannot begin in the middle of the source; looped sources are short.
        # ffmpeg 9.0.2 never ends a `stream_loop` of an animated WebP: the loop of its demuxer is used instead.
        loops: dict[str, Any] = {"ignore_loop": 0} if source.format == "webp_anim" else {"stream_loop": -1}
        seek, offset = loops, offset - start.total_seconds()
    elif start > timedelta(0):
        margin = FIELDS_BEFORE if source.interlaced else timedelta(0)
        if source.stream:
            margin += timedelta(seconds=source.key_gap + STREAM_BEFORE)
        before = min(start, margin)
        offset -= before.total_seconds()
        if start > before or not source.stream:
            # Decodes from the previous key frame on.
            seek = {"ss": f"{(start - before).total_seconds():.6f}", "noaccurate_seek": None}
    return seek, offset


def normalise_size(frames: Any, source: Source) -> Any:
    """Returns the frames of a source in the size and format of the first one; frames of another shape are padded."""
    width, height = source.width, source.height
    if width % 2 or height % 2:
        # Frames with subsampled chroma can be padded to even sizes only.
        frames = frames.filter("scale", width, height, flags="bicubic")
    else:
        # The largest size of the frame's shape (`dar`), in pixels of the shape of the first frame's.
        w = f"max(2,min({width},round({height}*dar/{source.pixel_shape:.6f})))"
        h = f"max(2,min({height},round({width}*{source.pixel_shape:.6f}/dar)))"
        frames = frames.filter("scale", w, h, eval="frame", flags="bicubic")
        frames = frames.filter("pad", width, height, "(ow-iw)/2", "(oh-ih)/2", "black@0", eval="frame")
    # The pixel shape of the first frame, because later filters expect a constant one.
    return frames.filter("setsar", "sar")


def rotate_upright(frames: Any, source: Source) -> Any:
    """Returns the frames of a source mirrored and rotated as its container or EXIF data declare."""
    if source.mirrored:
        frames = frames.filter("hflip")
    match source.rotation:
        case 90:
            return frames.filter("transpose", "clock")
        case 180:
            return frames.filter("hflip").filter("vflip")
        case 270:
            return frames.filter("transpose", "cclock")
        case _:
            return frames


def prepare_frames(frames: Any, source: Source) -> Any:
    """Returns the frames of a source in one size, upright, progressive and opaque, with their colours declared.

    This is the first step for a clip or still, before its frame rate and its size change.
    """
    frames = normalise_size(frames, source)
    if colours := _implied_colours(source):
        frames = frames.filter("setparams", **colours)
    if source.interlaced:
        # One frame for each field, so that motion stays as smooth as it was filmed.
        frames = frames.filter("bwdif", mode="send_field", deint="interlaced")
    if source.has_alpha:
        # Composed over black.
        frames = frames.filter("format", "yuva444p|gbrap").filter("premultiply", inplace=1)
        frames = frames.filter("format", "yuv444p|gbrp")
    return rotate_upright(frames, source)


def convert_to_bt709(frames: Any, source: Source) -> Any:
    """Returns scaled frames in BT.709 with 8 bits, the format of overlays and encoders.

    HDR is tone-mapped to SDR. This comes after scaling, when there are fewer pixels.
    """
    if source.hdr_transfer:
        frames = frames.filter("zscale", transfer="linear", primaries="bt709", npl=HDR_WHITE_NITS)
        frames = frames.filter("format", "gbrpf32le")
        frames = frames.filter("tonemap", "mobius", desat=0, peak=f"{HDR_PEAK:.4f}")
        frames = frames.filter("zscale", **_BT709, dither="ordered")
    elif source.wide_gamut:
        frames = frames.filter("zscale", **_BT709, dither="ordered")
    return frames.filter("format", "yuv420p")


def _implied_colours(source: Source) -> dict[str, str]:
    """The colour properties that a source does not declare, as players assume them."""
    colours = {}
    if source.wide_gamut:
        if not source.has_matrix:
            colours["colorspace"] = "bt2020nc"
        if not source.has_primaries:
            colours["color_primaries"] = "bt2020"
        colours["color_trc"] = source.hdr_transfer or "bt709"
    elif not source.has_matrix and (source.width >= 1280 or source.height > 576):
        # For undeclared colours ffmpeg assumes BT.601, while players assume BT.709 for large frames.
        colours["colorspace"] = "bt709"
    return colours
