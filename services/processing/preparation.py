"""Preparation: how sources of every kind are opened, and made into pictures of one kind.

Of one size, upright, progressive, opaque, in BT.709: what phones, cameras, screens, broadcasters and designers hand in
differs in all of these, and may change from frame to frame.

ffmpeg would build its filters anew whenever the size, the format or the colours of the frames change, and all that
counts frames would count from 0 again; it would turn frames and cut their edges before any filter of ours sees them.
So it is kept from all that. The first filter brings every frame to one size and format; those after it trust in that,
and some of them would read beyond a frame's pixels otherwise.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from services.media.formats import CLIP_FORMATS, CLIP_PROTOCOLS
from services.processing.source import MAX_STILL_PIXELS, Source

# Deinterlacing needs the fields before the first frame that is shown.
FIELDS_BEFORE = timedelta(seconds=0.2)
# In a stream without an index, a place is found only about; so far before it, and a whole group of pictures.
STREAM_BEFORE = 0.5

# HDR's white of 203 nits (BT.2408) is the 1 of linear light here; what is brighter, up to 1000 nits, is
# pressed into the little that is left below SDR's white. Mobius leaves what is darker than a third of it as it was.
HDR_WHITE_NITS = 203
HDR_PEAK = 1000 / HDR_WHITE_NITS

_BT709 = {"primaries": "bt709", "transfer": "bt709", "matrix": "bt709", "range": "tv"}


def opening(source: Source, start: timedelta, max_pixels: int, *, again: bool = False) -> dict[str, Any]:
    """The options with which ffmpeg opens a source so that time 0 is `start`; what is before may come too.

    With `again`, it is read from its beginning whenever it has ended, as animations always are.

    The frame that is on screen at `start` is among what comes. `max_pixels` is for videos.
    """
    most = max(max_pixels, MAX_STILL_PIXELS) if source.still else max_pixels
    options: dict[str, Any] = {
        "max_pixels": most,
        "protocol_whitelist": CLIP_PROTOCOLS,
        "reinit_filter": 0,
        "noautorotate": None,
        "apply_cropping": "codec",
    }
    if source.format:
        # A picture is opened as what it was found to be, and as nothing else.
        options |= {"f": source.format, "format_whitelist": source.format}
    else:
        options["format_whitelist"] = CLIP_FORMATS
    if source.decoder:
        options["c:v"] = source.decoder
    seek, offset = _seek(source, start, again or source.is_animation)
    # What is far from where a stream is expected to begin is taken for a fault of it, and corrected (`delayed`).
    return options | seek | ({"itsoffset": f"{offset:.6f}"} if offset and not source.stream else {})


def delayed(picture: Any, source: Source, start: timedelta, *, again: bool = False) -> Any:
    """The frames of a source that was opened with the same arguments, at their times."""
    _, offset = _seek(source, start, again)
    return picture.filter("setpts", f"PTS+({offset:.6f})/TB") if source.stream and offset else picture


def _seek(source: Source, start: timedelta, again: bool) -> tuple[dict[str, Any], float]:
    """The options with which a source is read from before `start` on, and by how much it is delayed, in seconds."""
    # ffmpeg counts the time of a stream from its first picture on.
    offset = source.picture_start if source.stream else 0.0
    seek: dict[str, Any] = {}
    if again:
        # What is read again and again cannot begin in its midst; it is short.
        # ffmpeg 9.0.2 reads an animated WebP for ever when it is to go back to its start: its own loop is used instead.
        loops: dict[str, Any] = {"ignore_loop": 0} if source.format == "webp_anim" else {"stream_loop": -1}
        seek, offset = loops, offset - start.total_seconds()
    elif start > timedelta(0):
        margin = FIELDS_BEFORE if source.interlaced else timedelta(0)
        if source.stream:
            margin += timedelta(seconds=source.key_gap + STREAM_BEFORE)
        before = min(start, margin)
        offset -= before.total_seconds()
        if start > before or not source.stream:
            # Decodes from the key frame before.
            seek = {"ss": f"{(start - before).total_seconds():.6f}", "noaccurate_seek": None}
    return seek, offset


def steady(picture: Any, source: Source) -> Any:
    """A source's frames in the size and format of its first one, whatever they change to; a smaller shape is padded."""
    width, height = source.width, source.height
    if width % 2 or height % 2:
        # Frames with coarser colours can be padded to even sizes only.
        picture = picture.filter("scale", width, height, flags="bicubic")
    else:
        # As large as its shape fits, where `dar` is the shape of each frame and the pixels are those of the first one.
        w = f"max(2,min({width},round({height}*dar/{source.pixel_shape:.6f})))"
        h = f"max(2,min({height},round({width}*{source.pixel_shape:.6f}/dar)))"
        picture = picture.filter("scale", w, h, eval="frame", flags="bicubic")
        picture = picture.filter("pad", width, height, "(ow-iw)/2", "(oh-ih)/2", "black@0", eval="frame")
    # As the first frame has it: the filters after this one take pixels for being of one shape.
    return picture.filter("setsar", "sar")


def upright(picture: Any, source: Source) -> Any:
    """A source's frames as they are to be seen: mirrored and turned as its container or its EXIF says."""
    if source.mirrored:
        picture = picture.filter("hflip")
    match source.rotation:
        case 90:
            return picture.filter("transpose", "clock")
        case 180:
            return picture.filter("hflip").filter("vflip")
        case 270:
            return picture.filter("transpose", "cclock")
        case _:
            return picture


def prepare(picture: Any, source: Source) -> Any:
    """A source's pictures steady, upright, progressive and opaque, saying how their colours are coded.

    The first thing that is done to a clip or still, before its frame rate is changed and it is scaled.
    """
    picture = steady(picture, source)
    if said := _said(source):
        picture = picture.filter("setparams", **said)
    if source.interlaced:
        # A picture for each field: motion stays as smooth as it was filmed.
        picture = picture.filter("bwdif", mode="send_field", deint="interlaced")
    if source.has_alpha:
        # Over black: each colour as far as it is opaque.
        picture = picture.filter("format", "yuva444p|gbrap").filter("premultiply", inplace=1)
        picture = picture.filter("format", "yuv444p|gbrp")
    return upright(picture, source)


def settle(picture: Any, source: Source) -> Any:
    """Pictures that have got their size, in BT.709 and 8 bits: what the encoder and all that is laid over them take.

    HDR is mapped to what a screen without it shows. This comes after scaling, for there are fewer pixels then.
    """
    if source.hdr_transfer:
        picture = picture.filter("zscale", transfer="linear", primaries="bt709", npl=HDR_WHITE_NITS)
        picture = picture.filter("format", "gbrpf32le")
        picture = picture.filter("tonemap", "mobius", desat=0, peak=f"{HDR_PEAK:.4f}")
        picture = picture.filter("zscale", **_BT709, dither="ordered")
    elif source.wide_gamut:
        picture = picture.filter("zscale", **_BT709, dither="ordered")
    return picture.filter("format", "yuv420p")


def _said(source: Source) -> dict[str, str]:
    """What a source leaves unsaid of its colours, as players take it."""
    said = {}
    if source.wide_gamut:
        if not source.has_matrix:
            said["colorspace"] = "bt2020nc"
        if not source.has_primaries:
            said["color_primaries"] = "bt2020"
        said["color_trc"] = source.hdr_transfer or "bt709"
    elif not source.has_matrix and (source.width >= 1280 or source.height > 576):
        # ffmpeg takes colours that nobody described for BT.601; players take those of a large picture for BT.709.
        said["colorspace"] = "bt709"
    return said
