"""The tracks of a video, in files named as in the rendering service."""

from __future__ import annotations

from pathlib import Path

from services.rendering import finish
from tests import media

# As the processing service encodes: with B-frames and declared colours.
TAGS = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
ENCODE = (
    *("-vf", f"scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,{TAGS}"),
    *("-c:v", "libx264", "-preset", "veryfast", "-g", "60"),
)


def video_track(folder: Path, chain: str = media.CORNERS, seconds: float = 2.0) -> Path:
    """Make a video track."""
    made = media.clip(folder / "picture.mp4", chain, seconds=seconds, encode=ENCODE)
    return made.rename(folder / finish.VIDEO_TRACK)


def audio_track(folder: Path, expression: str = "sine=440", seconds: float = 2.0, volume_db: float = 0.0) -> Path:
    """Make an audio track."""
    made = media.sound(folder / "sound.wav", expression, seconds=seconds, volume_db=volume_db)
    return made.rename(folder / finish.AUDIO_TRACK)
