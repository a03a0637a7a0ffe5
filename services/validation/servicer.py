"""The edge of the validation service: protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import timedelta
from fractions import Fraction
from typing import Any, Protocol

from google.protobuf.duration_pb2 import Duration

from moneyprinter.media.v1 import media_pb2
from moneyprinter.validation.v1 import validation_service_pb2 as pb
from moneyprinter.validation.v1 import validation_service_pb2_grpc as pb_grpc
from services.runtime.progress import OnProgress, stream_progress
from services.validation.clips import ClipValidator, ProbedClip, StoredObject, ValidatedClip
from services.validation.probe import ClipFacts, TimeRange


class WebhookResponse(Protocol):
    """The response of a webhook."""

    @property
    def http_status(self) -> int: ...

    @property
    def seconds(self) -> float: ...


class Webhooks(Protocol):
    """Checks the addresses of webhooks, and posts to them."""

    async def check(self, address: str) -> None: ...

    async def post(self, address: str, headers: Mapping[str, str], body: bytes) -> WebhookResponse: ...


class ValidationServicer(pb_grpc.ValidationServiceServicer):
    """Checks of clips and of addresses, and posts to webhooks."""

    def __init__(self, validator: ClipValidator, webhooks: Webhooks) -> None:
        self._validator = validator
        self._webhooks = webhooks

    async def ValidateClip(
        self, request: pb.ValidateClipRequest, context: Any
    ) -> AsyncIterator[pb.ValidateClipResponse]:
        async def validate(on_progress: OnProgress) -> pb.ValidateClipResponse:
            clip = await self._validator.validate(_source(request), _time_range(request), on_progress)
            return _response(clip)

        async with aclosing(stream_progress(validate, _progress)) as responses:
            async for response in responses:
                yield response

    async def CheckAddress(self, request: pb.CheckAddressRequest, context: Any) -> pb.CheckAddressResponse:
        await self._webhooks.check(request.url)
        return pb.CheckAddressResponse()

    async def PostWebhook(self, request: pb.PostWebhookRequest, context: Any) -> pb.PostWebhookResponse:
        response = await self._webhooks.post(request.url, request.headers, request.body)
        return pb.PostWebhookResponse(http_status=response.http_status, duration=_duration(response.seconds))

    async def ProbeClip(self, request: pb.ProbeClipRequest, context: Any) -> pb.ProbeClipResponse:
        return pb.ProbeClipResponse(
            probed=_to_message(await self._validator.probe(_source(request), _time_range(request)))
        )

    async def ProbeSound(self, request: pb.ProbeSoundRequest, context: Any) -> pb.ProbeSoundResponse:
        stored = StoredObject(request.object.key, request.object.sha256, request.object.size_bytes)
        seconds = await self._validator.probe_sound(stored, request.start.ToTimedelta().total_seconds())
        return pb.ProbeSoundResponse(duration=_duration(seconds))

    async def ProbeFile(
        self, request_iterator: AsyncIterator[pb.ProbeFileRequest], context: Any
    ) -> pb.ProbeFileResponse:
        chunks = (request.chunk async for request in request_iterator)
        return pb.ProbeFileResponse(probed=_to_message(await self._validator.probe(chunks, TimeRange())))


def _source(request: pb.ValidateClipRequest | pb.ProbeClipRequest) -> str | StoredObject:
    if request.WhichOneof("source") == "url":
        return request.url
    return StoredObject(request.object.key, request.object.sha256, request.object.size_bytes)


def _time_range(request: pb.ValidateClipRequest | pb.ProbeClipRequest) -> TimeRange:
    return TimeRange(
        start_seconds=request.start.ToTimedelta().total_seconds(),
        end_seconds=request.end.ToTimedelta().total_seconds() if request.HasField("end") else None,
    )


def _progress(fraction: float) -> pb.ValidateClipResponse:
    return pb.ValidateClipResponse(progress=media_pb2.Progress(fraction=fraction))


def _response(clip: ValidatedClip) -> pb.ValidateClipResponse:
    stored = clip.stored
    message = media_pb2.Object(key=stored.key, sha256=stored.sha256, size_bytes=stored.size_bytes)
    return pb.ValidateClipResponse(clip=_clip(clip.facts, message))


def _to_message(probed: ProbedClip) -> pb.ProbedClip:
    return pb.ProbedClip(
        clip=_clip(probed.facts, None),
        sha256=probed.sha256,
        size_bytes=probed.size_bytes,
        rotation=probed.facts.rotation,
        audio_codec=probed.facts.audio_codec,
        mirrored=probed.facts.mirrored,
    )


def _clip(facts: ClipFacts, stored: media_pb2.Object | None) -> media_pb2.Clip:
    return media_pb2.Clip(
        source=media_pb2.Source(object=stored, **facts.source),
        duration=None if facts.duration_seconds is None else _duration(facts.duration_seconds),
        width=facts.width,
        height=facts.height,
        frame_rate=_frame_rate(facts.rate),
        video_codec=facts.video_codec,
        has_audio=facts.has_audio,
        sound_track=facts.sound_track,
        sound_start=facts.sound_start,
        key_frames=[_duration(seconds) for seconds in facts.key_seconds],
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration


def _frame_rate(rate: Fraction | None) -> media_pb2.FrameRate | None:
    return None if rate is None else media_pb2.FrameRate(numerator=rate.numerator, denominator=rate.denominator)
