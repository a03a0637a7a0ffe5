"""Source: what must be known of a clip or picture before it is drawn; the validation service found it out."""

from __future__ import annotations

from dataclasses import dataclass

from moneyprinter.errors import FailedPrecondition

# A picture is decoded once, a video frame by frame: so it may be as large as phones take them.
MAX_STILL_PIXELS = 8192 * 6144


@dataclass(frozen=True)
class Source:
    """What must be known of a clip or picture before it is drawn."""

    width: int
    height: int
    has_matrix: bool
    """Whether it says how its colours are coded."""
    has_primaries: bool = True
    """Whether it says which red, green and blue it means."""
    hdr_transfer: str = ""
    """How the light of HDR is coded, as ffmpeg names it (`smpte2084`: PQ, `arib-std-b67`: HLG); empty: no HDR."""
    wide_gamut: bool = False
    """Whether its colours are those of BT.2020."""
    interlaced: bool = False
    has_alpha: bool = False
    decoder: str = ""
    """The decoder that sees its transparent parts, when it is not ffmpeg's first choice."""
    format: str = ""
    """For pictures and animations, the one format of ffmpeg that they are opened as; empty: found by ffmpeg."""
    still: bool = False
    """Whether it is a single picture."""
    track: int = 0
    """Which of its video tracks is shown, from 0."""
    rotation: int = 0
    """How far its picture is turned to be shown, in degrees clockwise."""
    mirrored: bool = False
    """Whether its picture is mirrored left to right, before it is turned."""
    picture_end: float = 0.0
    """When its last picture would end, in seconds, if its sound did not go on; 0: with the clip."""
    seconds: float = 0.0
    """How long a player shows it; 0 for a still picture."""
    pixel_shape: float = 1.0
    """How wide its pixels are for their height."""
    dark: bool = False
    """Whether it begins with a black picture."""
    focus_x: float = 0.0
    """Where the eye goes in its pictures as they are shown, a part of their width; 0: not known."""
    focus_y: float = 0.0
    """The same of their height."""
    stream: bool = False
    """Whether it is a stream without an index."""
    picture_start: float = 0.0
    """When its first picture is shown, in seconds from its start."""
    key_gap: float = 0.0
    """In a stream: the longest time between two of its key frames, in seconds."""

    @property
    def is_animation(self) -> bool:
        """Whether it is a picture that moves, which is shown again and again."""
        return bool(self.format) and not self.still


def failed(why: str) -> FailedPrecondition:
    """The error for a segment that cannot be rendered."""
    return FailedPrecondition(f"the segment cannot be rendered: {why}", reason="RENDER_FAILED")
