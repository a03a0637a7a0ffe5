"""Stand-ins: services that respond at once without doing work, to test job control alone."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration

from moneyprinter.audio.v1 import audio_service_pb2 as audio
from moneyprinter.audio.v1 import audio_service_pb2_grpc as audio_grpc
from moneyprinter.concatenation.v1 import concatenation_service_pb2 as concatenation
from moneyprinter.concatenation.v1 import concatenation_service_pb2_grpc as concatenation_grpc
from moneyprinter.content.v1 import content_service_pb2 as content
from moneyprinter.content.v1 import content_service_pb2_grpc as content_grpc
from moneyprinter.errors import NotFound
from moneyprinter.media.v1 import media_pb2 as media
from moneyprinter.processing.v1 import processing_service_pb2 as processing
from moneyprinter.processing.v1 import processing_service_pb2_grpc as processing_grpc
from moneyprinter.rendering.v1 import rendering_service_pb2 as rendering
from moneyprinter.rendering.v1 import rendering_service_pb2_grpc as rendering_grpc
from moneyprinter.storage.v1 import storage_service_pb2 as storage
from moneyprinter.storage.v1 import storage_service_pb2_grpc as storage_grpc
from moneyprinter.user.v1 import audit_service_pb2 as audit
from moneyprinter.user.v1 import audit_service_pb2_grpc as audit_grpc
from moneyprinter.user.v1 import user_service_pb2 as user
from moneyprinter.user.v1 import user_service_pb2_grpc as user_grpc
from moneyprinter.validation.v1 import validation_service_pb2 as validation
from moneyprinter.validation.v1 import validation_service_pb2_grpc as validation_grpc
from services.runtime import server
from services.runtime.config import RuntimeConfig
from services.runtime.server import Runtime


def seconds(number: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=number))
    return duration


def stored(key: str, size_bytes: int = 7) -> media.Object:
    return media.Object(key=key, sha256=hashlib.sha256(key.encode()).hexdigest(), size_bytes=size_bytes)


class StandIns(
    validation_grpc.ValidationServiceServicer,
    content_grpc.ContentServiceServicer,
    audio_grpc.AudioServiceServicer,
    processing_grpc.ProcessingServiceServicer,
    concatenation_grpc.ConcatenationServiceServicer,
    rendering_grpc.RenderingServiceServicer,
    storage_grpc.StorageServiceServicer,
):
    """All services that a job needs. `call_counts` has the number of calls by kind."""

    def __init__(self) -> None:
        self.call_counts: Counter[str] = Counter()
        self.open = asyncio.Event()
        """Renders wait while this event is not set."""
        self.open.set()
        self.objects: dict[str, media.Object] = {}
        """The stored objects."""
        self.seconds = 0.0
        """The duration of a render, in seconds."""
        self.rendering = asyncio.Event()
        """Set at the first render request."""

    async def ValidateClip(
        self, request: validation.ValidateClipRequest, context: Any
    ) -> AsyncIterator[validation.ValidateClipResponse]:
        self.call_counts["validate"] += 1
        source = media.Source(object=stored("assets/clip"), width=320, height=180)
        yield validation.ValidateClipResponse(
            clip=media.Clip(source=source, duration=seconds(8), width=320, height=180)
        )

    async def WriteScript(self, request: content.WriteScriptRequest, context: Any) -> content.WriteScriptResponse:
        return content.WriteScriptResponse(sentences=[request.script or request.title])

    async def TranslateScenes(
        self, request: content.TranslateScenesRequest, context: Any
    ) -> content.TranslateScenesResponse:
        return content.TranslateScenesResponse(scenes=request.scenes, title=request.title)

    async def CheckTexts(self, request: content.CheckTextsRequest, context: Any) -> content.CheckTextsResponse:
        return content.CheckTextsResponse()

    async def MakeCaptions(self, request: content.MakeCaptionsRequest, context: Any) -> content.MakeCaptionsResponse:
        return content.MakeCaptionsResponse(srt="srt", vtt="vtt")

    async def GetVoice(self, request: audio.GetVoiceRequest, context: Any) -> audio.GetVoiceResponse:
        return audio.GetVoiceResponse(name=request.name or "en-US", language="en-US")

    async def Synthesize(
        self, request: audio.SynthesizeRequest, context: Any
    ) -> AsyncIterator[audio.SynthesizeResponse]:
        self.call_counts["speak"] += 1
        sentences = [
            audio.Sentence(words=[media.Word(text=text, start=seconds(place), end=seconds(place + 0.5))])
            for place, text in enumerate(request.sentences)
        ]
        # About the duration of the speech.
        length = max(9.4, sum(map(len, request.sentences)) / 15)
        speech = audio.Speech(audio=stored("speech"), duration=seconds(length), sentences=sentences)
        yield audio.SynthesizeResponse(speech=speech)

    async def Mix(self, request: audio.MixRequest, context: Any) -> AsyncIterator[audio.MixResponse]:
        self.call_counts["mix"] += 1
        yield audio.MixResponse(mix=audio.Mix(audio=stored("mix")))

    async def RenderSegment(
        self, request: processing.RenderSegmentRequest, context: Any
    ) -> AsyncIterator[processing.RenderSegmentResponse]:
        self.rendering.set()
        await self.open.wait()
        await asyncio.sleep(self.seconds)
        self.call_counts["render"] += 1
        segment = request.segment
        made = processing.RenderedSegment(video=stored(f"segment-{segment.index}"), frame_count=segment.frame_count)
        yield processing.RenderSegmentResponse(segment=made)

    async def Concatenate(
        self, request: concatenation.ConcatenateRequest, context: Any
    ) -> AsyncIterator[concatenation.ConcatenateResponse]:
        self.call_counts["join"] += 1
        yield concatenation.ConcatenateResponse(video=concatenation.JoinedVideo(video=stored("joined")))

    async def FinishVideo(
        self, request: rendering.FinishVideoRequest, context: Any
    ) -> AsyncIterator[rendering.FinishVideoResponse]:
        self.call_counts["finish"] += 1
        files = [rendering.File(name=name, object=stored(f"video/{name}")) for name in ("video.mp4", "poster.jpg")]
        finished = rendering.FinishedVideo(files=files, duration=request.duration, loudness_lufs=-14)
        yield rendering.FinishVideoResponse(video=finished)

    async def PutObject(
        self, requests: AsyncIterator[storage.PutObjectRequest], context: Any
    ) -> storage.PutObjectResponse:
        key, data = "", b""
        async for request in requests:
            key = key or request.header.key
            data += request.chunk
        digest = hashlib.sha256(data).hexdigest()
        self.objects[key] = media.Object(key=key, sha256=digest, size_bytes=len(data))
        return storage.PutObjectResponse(object=self.objects[key])

    async def HeadObject(self, request: storage.HeadObjectRequest, context: Any) -> storage.HeadObjectResponse:
        if request.key.startswith("cache/"):
            raise NotFound(f"there is no object {request.key}", reason="OBJECT_NOT_FOUND")
        return storage.HeadObjectResponse(object=self.objects.get(request.key, stored(request.key)))


class Users(user_grpc.UserServiceServicer, audit_grpc.AuditServiceServicer):
    """Lists the one signing key of tokens, and accepts audit events."""

    def __init__(self, public_key: dict[str, str]) -> None:
        self._public_key = public_key

    async def ListSigningKeys(self, request: user.ListSigningKeysRequest, context: Any) -> user.ListSigningKeysResponse:
        return user.ListSigningKeysResponse(keys=[user.SigningKey(**self._public_key)])

    async def AppendEvents(self, request: audit.AppendEventsRequest, context: Any) -> audit.AppendEventsResponse:
        return audit.AppendEventsResponse()


REGISTER: dict[str, Callable[[Any, Any], None]] = {
    "validation": validation_grpc.add_ValidationServiceServicer_to_server,
    "content": content_grpc.add_ContentServiceServicer_to_server,
    "audio": audio_grpc.add_AudioServiceServicer_to_server,
    "processing": processing_grpc.add_ProcessingServiceServicer_to_server,
    "concatenation": concatenation_grpc.add_ConcatenationServiceServicer_to_server,
    "rendering": rendering_grpc.add_RenderingServiceServicer_to_server,
    "storage": storage_grpc.add_StorageServiceServicer_to_server,
}


@asynccontextmanager
async def serving(
    config: RuntimeConfig, public_key: dict[str, str], services: tuple[str, ...] = tuple(REGISTER)
) -> AsyncIterator[StandIns]:
    """Serve stand-ins for `services`, and the signing key of tokens, on their ports while the context is open."""
    # Other methods return UNIMPLEMENTED.
    found, users = StandIns(), Users(public_key)  # type: ignore[abstract]
    wanted: list[tuple[str, tuple[Callable[[Any, Any], None], ...], Any]] = [
        ("user", (user_grpc.add_UserServiceServicer_to_server, audit_grpc.add_AuditServiceServicer_to_server), users),
        *((name, (REGISTER[name],), found) for name in services),
    ]

    async with AsyncExitStack() as stack:
        for service, registers, servicer in wanted:
            await stack.enter_async_context(server.run_service(service, config, wire=_wire(registers, servicer)))
        yield found


def _wire(registers: tuple[Callable[[Any, Any], None], ...], servicer: Any) -> server.Wire:
    @asynccontextmanager
    async def wire(_: None, runtime: Runtime) -> AsyncIterator[None]:
        for register in registers:
            runtime.add(register, servicer)
        yield

    return wire
