"""Source: the facts of a clip or picture that its drawing depends on, from the probe of the validation service."""

from __future__ import annotations

from dataclasses import dataclass

from moneyprinter.errors import FailedPrecondition

# Larger than `max_pixels` of videos, because a still is decoded once: photos of phones have up to 50 megapixels.
MAX_STILL_PIXELS = 8192 * 6144


@dataclass(frozen=True)
class Source:
    """The facts of a clip or picture (`media.v1.Source`)."""

    width: int
    height: int
    has_matrix: bool
    """Whether it declares its colour matrix."""
    has_primaries: bool = True
    """Whether it declares its colour primaries."""
    hdr_transfer: str = ""
    """The transfer function of HDR by its name in ffmpeg (`smpte2084`: PQ, `arib-std-b67`: HLG); empty: no HDR."""
    wide_gamut: bool = False
    """Whether its primaries are those of BT.2020."""
    interlaced: bool = False
    has_alpha: bool = False
    decoder: str = ""
    """The decoder that decodes its alpha channel, where that is not ffmpeg's default; empty: the default."""
    format: str = ""
    """Of a picture or animation: the format of ffmpeg that it is opened as; empty: ffmpeg detects it."""
    still: bool = False
    """Whether it is a single picture."""
    track: int = 0
    """The index of the video track that is shown."""
    rotation: int = 0
    """The rotation that shows it upright, in degrees clockwise: 0, 90, 180 or 270."""
    mirrored: bool = False
    """Whether it is mirrored left to right before the rotation."""
    picture_end: float = 0.0
    """The end of its last frame, in seconds, where the sound goes on longer; 0: the end of the clip."""
    seconds: float = 0.0
    """The duration that a player shows; 0 for a still."""
    pixel_shape: float = 1.0
    """The width of a pixel divided by its height."""
    stream: bool = False
    """Whether its container has no index (MPEG-TS, MPEG-PS)."""
    picture_start: float = 0.0
    """The time of its first frame, in seconds from the start of the clip."""
    key_gap: float = 0.0
    """In a container without an index: the longest time between two key frames, in seconds."""

    @property
    def is_animation(self) -> bool:
        """Whether it is an animated picture, which is shown in a loop."""
        return bool(self.format) and not self.still


def render_failed(why: str) -> FailedPrecondition:
    """Returns the error for a segment that cannot be rendered."""
    return FailedPrecondition(f"the segment cannot be rendered: {why}", reason="RENDER_FAILED")
