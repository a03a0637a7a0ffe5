"""Music: the loops that play under a narration, one per mood; `scripts/make_music` generates them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from moneyprinter.errors import InvalidArgument

FOLDER = Path(__file__).parent / "music"
RUN_IN_SAMPLES = 24_000
"""The run-in and run-out of a file for the codec's warm-up: the end of the loop before it, its beginning after it."""
LOUDNESS_LUFS = -20.0
"""The loudness of every loop."""

_RATE = 48_000
# The cross-fade from the end of a round to the beginning of the next: 0.1 s.
_SEAM_SAMPLES = 4_800


@dataclass(frozen=True)
class Loop:
    """A piece of music that repeats without a seam."""

    mood: str
    samples: int
    """The length at 48 kHz, in whole bars, without run-in."""

    @property
    def path(self) -> Path:
        """The Opus file of the loop."""
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


def find_loop(mood: str) -> Loop | None:
    """The loop of a mood; None when the mood is empty.

    Raises `InvalidArgument` (MUSIC_UNKNOWN) when there is no music for the mood.
    """
    if not mood:
        return None
    if loop := LOOPS.get(mood):
        return loop
    raise InvalidArgument(
        f"there is no background music {mood!r}; there is {', '.join(LOOPS)}, or leave it empty for none",
        reason="MUSIC_UNKNOWN",
    )


def loop_stream(loop: Loop) -> ffmpeg.Stream:
    """One round of a loop for ffmpeg, which can be repeated without a click.

    The run-out of the file fades into the beginning of the loop. Both are the same music, but the lossy codec encodes
    them slightly differently.
    """
    stored = ffmpeg.input(str(loop.path), f="ogg").filter_multi_output("asplit", 2)
    last = RUN_IN_SAMPLES + loop.samples
    beginning = (
        stored[0]
        .filter("atrim", start_sample=RUN_IN_SAMPLES, end_sample=last)
        .filter("asetpts", "N/SR/TB")
        .filter("afade", t="in", ns=_SEAM_SAMPLES, curve="tri")
    )
    run_out = (
        stored[1]
        .filter("atrim", start_sample=last, end_sample=last + _SEAM_SAMPLES)
        .filter("asetpts", "N/SR/TB")
        .filter("afade", t="out", ns=_SEAM_SAMPLES, curve="tri")
    )
    return ffmpeg.filter([beginning, run_out], "amix", inputs=2, normalize=0, duration="first")


def shape_bed(
    sound: ffmpeg.Stream, seconds: float, gain_db: float, fade_in_seconds: float, fade_out_seconds: float
) -> ffmpeg.Stream:
    """Make music a bed under a voice: in the length of the mix, quieter around the frequencies of speech, and faded.

    Args:
        sound: The music, at least as long as the mix.
        seconds: The length of the mix.
        gain_db: The gain.
        fade_in_seconds: The time in which it rises; 0: none.
        fade_out_seconds: The time in which it falls; 0: none.
    """
    bed = (
        sound.filter("atrim", end_sample=round(seconds * _RATE))
        .filter("aformat", sample_fmts="fltp", channel_layouts="stereo")
        .filter("volume", f"{gain_db:.1f}dB")
        .filter("equalizer", f=2500, t="o", w=2, g=-3)
    )
    if fade_in_seconds:
        bed = bed.filter("afade", t="in", d=fade_in_seconds)
    if fade_out_seconds:
        bed = bed.filter("afade", t="out", st=seconds - fade_out_seconds, d=fade_out_seconds)
    return bed
