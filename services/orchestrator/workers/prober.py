"""Prober: the validation service as clips see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from moneyprinter.media.v1 import media_pb2
from moneyprinter.validation.v1 import validation_service_pb2 as pb
from moneyprinter.validation.v1 import validation_service_pb2_grpc as pb_grpc
from services.orchestrator.jobs.model import StoredObject
from services.orchestrator.videos.clips import Facts, Part
from services.runtime.server import Runtime

_HDR = {"": "", "smpte2084": "pq", "arib-std-b67": "hlg"}


class MeshProber:
    """Who looks at clips (`clips.Prober`)."""

    def __init__(self, runtime: Runtime) -> None:
        channel = runtime.connect("validation", "moneyprinter.validation.v1.ValidationService")
        self._validation = pb_grpc.ValidationServiceStub(channel)

    async def at_address(self, url: str, part: Part) -> Facts:
        return await self._probe(pb.ProbeClipRequest(url=url), part)

    async def of_object(self, found: StoredObject, part: Part) -> Facts:
        named = media_pb2.Object(key=found.key, sha256=found.sha256, size_bytes=found.size_bytes)
        return await self._probe(pb.ProbeClipRequest(object=named), part)

    async def _probe(self, request: pb.ProbeClipRequest, part: Part) -> Facts:
        request.start.CopyFrom(_duration(part.start))
        if part.end is not None:
            request.end.CopyFrom(_duration(part.end))
        return _facts((await self._validation.ProbeClip(request)).probed)

    async def of_bytes(self, chunks: AsyncIterator[bytes]) -> Facts:
        requests = (pb.ProbeFileRequest(chunk=chunk) async for chunk in chunks)
        return _facts((await self._validation.ProbeFile(requests)).probed)


def _facts(probed: pb.ProbedClip) -> Facts:
    clip, source = probed.clip, probed.clip.source
    rate = clip.frame_rate
    return Facts(
        seconds=_seconds(clip.duration),
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
        key_seconds=tuple(map(_seconds, clip.key_frames)),
    )


def _seconds(duration: Duration) -> float:
    return duration.ToTimedelta() / timedelta(seconds=1)


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration
