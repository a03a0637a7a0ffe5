"""Prober: the validation service as a probe of clips."""

from __future__ import annotations

from collections.abc import AsyncIterator

from moneyprinter.validation.v1 import validation_service_pb2 as pb
from services.orchestrator.jobs.model import StoredObject
from services.orchestrator.videos.clips import ClipFacts, TimeRange
from services.orchestrator.workers.messages import object_message, optional_duration, to_duration, to_seconds
from services.orchestrator.workers.stubs import Stubs

# The transfer functions of HDR, in the words of the public contract.
_HDR = {"": "", "smpte2084": "pq", "arib-std-b67": "hlg"}


class GrpcProber:
    """Probes clips with the validation service (`clips.Prober`)."""

    def __init__(self, stubs: Stubs) -> None:
        self._validation = stubs.validation

    async def probe_address(self, url: str, part: TimeRange) -> ClipFacts:
        return await self._probe(pb.ProbeClipRequest(url=url), part)

    async def probe_object(self, stored: StoredObject, part: TimeRange) -> ClipFacts:
        return await self._probe(pb.ProbeClipRequest(object=object_message(stored)), part)

    async def _probe(self, request: pb.ProbeClipRequest, part: TimeRange) -> ClipFacts:
        request.start.CopyFrom(to_duration(part.start_seconds))
        if (end := optional_duration(part.end_seconds)) is not None:
            request.end.CopyFrom(end)
        return _facts((await self._validation.ProbeClip(request)).probed)

    async def probe_stream(self, chunks: AsyncIterator[bytes]) -> ClipFacts:
        requests = (pb.ProbeFileRequest(chunk=chunk) async for chunk in chunks)
        return _facts((await self._validation.ProbeFile(requests)).probed)


def _facts(probed: pb.ProbedClip) -> ClipFacts:
    clip, source = probed.clip, probed.clip.source
    rate = clip.frame_rate
    return ClipFacts(
        seconds=to_seconds(clip.duration),
        size_bytes=probed.size_bytes,
        sha256=probed.sha256,
        width=clip.width,
        height=clip.height,
        rotation=probed.rotation,
        mirrored=probed.mirrored,
        frame_rate=rate.numerator / rate.denominator if rate.denominator else 0.0,
        video_codec=clip.video_codec,
        hdr=_HDR[source.hdr_transfer],
        interlaced=source.interlaced,
        transparent=source.has_alpha,
        still=source.still,
        has_audio=clip.has_audio,
        audio_codec=probed.audio_codec,
        key_seconds=tuple(map(to_seconds, clip.key_frames)),
    )
