"""Own sounds: check the recording and the music that a request names, and fill in the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moneyprinter.errors import NotFound
from services.orchestrator.jobs.model import Asset, OwnSound
from services.orchestrator.jobs.options import SpeechOptions
from services.orchestrator.videos.violations import invalid_field

FADE_IN_SECONDS, FADE_OUT_SECONDS = 0.5, 1.5


@dataclass(frozen=True)
class OwnSoundsInput:
    """The own sounds of a video as the client sent them; an empty field gets its default."""

    narration_asset_id: str = ""
    music_asset_id: str = ""
    music_start: str = ""
    music_volume: float = 0.0
    music_fade_in: float | None = None
    music_fade_out: float | None = None
    music_end: str = ""

    @property
    def asset_ids(self) -> tuple[str, str]:
        """The ids of the uploads; an empty one is none."""
        return self.narration_asset_id, self.music_asset_id


NO_SOUNDS = OwnSoundsInput()


def choose_recording(
    sounds: OwnSoundsInput, has_text: bool, speech_options: SpeechOptions, assets: Mapping[str, Asset]
) -> OwnSound | None:
    """Returns the recording of the narration; None when a voice speaks, or nothing is spoken.

    `has_text` is whether the request has the text of the narration, `speech_options` has the requested pace, and
    `assets` are those of the caller by their ids. Raises `InvalidArgument` when the text is missing or a pace is
    requested, and `NotFound` for an asset that the caller does not have.
    """
    if not sounds.narration_asset_id:
        return None
    if not has_text:
        complaint = "needs the text that is read in the recording: give it in `audio.script` or in the clips' scripts"
        raise invalid_field("audio.narration_asset_id", complaint)
    if speech_options.speed or speech_options.sentence_pause or speech_options.scene_pause:
        complaint = (
            "has its own speed and pauses: leave out `audio.speed`, `audio.sentence_pause` and `audio.scene_pause`"
        )
        raise invalid_field("audio.narration_asset_id", complaint)
    asset = _find(sounds.narration_asset_id, "audio.narration_asset_id", assets)
    return OwnSound(asset.object, asset.filename)


def choose_music(
    sounds: OwnSoundsInput, start_seconds: float | None, mood: str, assets: Mapping[str, Asset]
) -> OwnSound | None:
    """Returns the caller's own music; None when there is none.

    `start_seconds` is the parsed `music_start`, `mood` the `background_music` of the request. Raises `InvalidArgument`
    when fields contradict each other, and `NotFound` for an asset that the caller does not have.
    """
    if not sounds.music_asset_id:
        for name in ("music_start", "music_volume", "music_fade_in", "music_fade_out", "music_end"):
            if getattr(sounds, name) not in ("", None, 0.0):
                raise invalid_field(
                    f"audio.{name}", "is for your own music: give `audio.music_asset_id`, or leave it out"
                )
        return None
    if mood not in ("", "none"):
        complaint = "give either your own music in `audio.music_asset_id`, or `background_music`"
        raise invalid_field("audio.background_music", complaint)
    asset = _find(sounds.music_asset_id, "audio.music_asset_id", assets)
    return OwnSound(
        asset.object,
        asset.filename,
        start_seconds=start_seconds or 0.0,
        volume=sounds.music_volume or 1.0,
        fade_in_seconds=FADE_IN_SECONDS if sounds.music_fade_in is None else sounds.music_fade_in,
        fade_out_seconds=FADE_OUT_SECONDS if sounds.music_fade_out is None else sounds.music_fade_out,
        once=sounds.music_end == "silence",
    )


def _find(asset_id: str, field: str, assets: Mapping[str, Asset]) -> Asset:
    if asset_id not in assets:
        raise NotFound(f"{field}: there is no asset {asset_id}; upload it first", reason="ASSET_NOT_FOUND")
    return assets[asset_id]
