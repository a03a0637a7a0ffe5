"""Previews: the sound of a video that is still rendering."""

from __future__ import annotations

from moneyprinter.audio.v1 import audio_service_pb2 as audio
from services.orchestrator.jobs.model import SoundTrack
from services.orchestrator.videos.hls import PreviewSound
from services.orchestrator.workers.messages import object_message, stored_object
from services.orchestrator.workers.stubs import Stubs


class GrpcPreviews:
    """Has the audio service encode sound tracks for streaming."""

    def __init__(self, stubs: Stubs) -> None:
        self._audio = stubs.audio

    async def encode_sound(self, track: SoundTrack) -> PreviewSound:
        """Encode a sound track for streaming, or find it as it was encoded before."""
        made = await self._audio.EncodePreview(audio.EncodePreviewRequest(audio=object_message(track.audio)))
        return PreviewSound(stored_object(made.audio), made.header_bytes, track.seconds)
