"""Music: the loops that lie under a narration, one per mood; `scripts/make_music` made them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from moneyprinter.errors import InvalidArgument

FOLDER = Path(__file__).parent / "music"
RUN_IN_SAMPLES = 24_000
"""A file holds so much of the loop's end before it, and of its beginning after it: the codec's warm-up."""
LOUDNESS_LUFS = -20.0
"""How loud every loop is."""

# How long the end of a round fades into the beginning of the next: 0.1 s.
_SEAM_SAMPLES = 4_800


@dataclass(frozen=True)
class Loop:
    """A piece of music whose end leads to its beginning without a seam."""

    mood: str
    samples: int
    """Its length at 48 kHz, whole bars, without run-in."""

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.mood}.opus"


LOOPS = {
    loop.mood: loop
    for loop in (
        Loop("upbeat", 768_000),
        Loop("calm", 1_152_000),
        Loop("dramatic", 1_024_000),
        Loop("happy", 737_280),
        Loop("dark", 1_080_000),
    )
}


def find(mood: str) -> Loop | None:
    """The loop of a mood, None for no music. Raises InvalidArgument, MUSIC_UNKNOWN."""
    if not mood:
        return None
    if loop := LOOPS.get(mood):
        return loop
    raise InvalidArgument(
        f"there is no background music {mood!r}; there is {', '.join(LOOPS)}, or leave it empty for none",
        reason="MUSIC_UNKNOWN",
    )


def stream(loop: Loop) -> ffmpeg.Stream:
    """One round of a loop, for ffmpeg, that follows itself without a click.

    What the file holds after the loop fades into the loop's beginning: both are the same music, but a
    lossy codec has kept them a little differently.
    """
    stored = ffmpeg.input(str(loop.path), f="ogg").filter_multi_output("asplit", 2)
    last = RUN_IN_SAMPLES + loop.samples
    begun = (
        stored[0]
        .filter("atrim", start_sample=RUN_IN_SAMPLES, end_sample=last)
        .filter("asetpts", "N/SR/TB")
        .filter("afade", t="in", ns=_SEAM_SAMPLES, curve="tri")
    )
    ending = (
        stored[1]
        .filter("atrim", start_sample=last, end_sample=last + _SEAM_SAMPLES)
        .filter("asetpts", "N/SR/TB")
        .filter("afade", t="out", ns=_SEAM_SAMPLES, curve="tri")
    )
    return ffmpeg.filter([begun, ending], "amix", inputs=2, normalize=0, duration="first")
