"""The edge of the orchestrator for clients that inspect clips: ClipService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from moneyprinter.video.v1 import clip_service_pb2 as pb
from moneyprinter.video.v1 import clip_service_pb2_grpc as pb_grpc
from services.orchestrator.videos.clips import ClipFacts, Clips
from services.runtime import identity


class ClipServicer(pb_grpc.ClipServiceServicer):
    """Serves ClipService."""

    def __init__(self, clips: Clips) -> None:
        self._clips = clips

    async def ProbeClip(self, request: pb.ProbeClipRequest, context: Any) -> pb.ProbeClipResponse:
        times = request.start_time, request.end_time
        facts = await self._clips.probe(identity.user().id, request.url, request.asset_id, times)
        return pb.ProbeClipResponse(clip=_clip_facts(facts))

    async def ProbeFile(
        self, request_iterator: AsyncIterator[pb.ProbeFileRequest], context: Any
    ) -> pb.ProbeFileResponse:
        chunks = (request.data.data async for request in request_iterator)
        return pb.ProbeFileResponse(clip=_clip_facts(await self._clips.probe_file(chunks)))


def _clip_facts(facts: ClipFacts) -> pb.ClipFacts:
    return pb.ClipFacts(
        duration=facts.seconds,
        file_size=facts.size_bytes,
        sha256=facts.sha256,
        width=facts.width,
        height=facts.height,
        rotation=facts.rotation,
        mirrored=facts.mirrored,
        frame_rate=round(facts.frame_rate, 3),
        video_codec=facts.video_codec,
        hdr=facts.hdr,
        interlaced=facts.interlaced,
        transparent=facts.transparent,
        still=facts.still,
        has_audio=facts.has_audio,
        audio_codec=facts.audio_codec,
        key_frames=facts.key_seconds,
    )
