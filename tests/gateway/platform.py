"""Stubs of the public services, which respond with the specification's examples, behind a real Envoy."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from google.api import httpbody_pb2
from google.protobuf import json_format

from gateway.config import Gateway
from gateway.contracts import load_methods
from moneyprinter.errors import (
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from moneyprinter.monitoring.v1 import monitoring_service_pb2 as monitoring_pb
from moneyprinter.monitoring.v1 import monitoring_service_pb2_grpc as monitoring_grpc
from moneyprinter.monitoring.v1 import public_health_service_pb2_grpc as public_grpc
from moneyprinter.user.v1 import user_service_pb2 as user_pb
from moneyprinter.user.v1 import user_service_pb2_grpc as user_grpc
from moneyprinter.video.v1 import clip_service_pb2 as clip_pb
from moneyprinter.video.v1 import clip_service_pb2_grpc as clip_grpc
from moneyprinter.video.v1 import event_service_pb2 as event_pb
from moneyprinter.video.v1 import event_service_pb2_grpc as event_grpc
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from moneyprinter.video.v1 import video_service_pb2_grpc as video_grpc
from services.monitoring.public_health import PublicHealth
from services.monitoring.public_health_servicer import PublicHealthServicer
from services.runtime import identity, interceptor
from services.runtime.server import Runtime, Wire
from tests.gateway import proxy
from tests.mesh import Mesh

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"

FILE = bytes(range(256)) * 4096
"""The content of a download: 1 MiB."""
PART = FILE[:1000]
"""The response to a request for its first 1000 bytes."""
PUBLIC_SERVICES = tuple(sorted({method.service for method in load_methods() if method.public}))
ETAG = f'"{hashlib.sha256(FILE).hexdigest()}"'
CHUNK_BYTES = 64 * 1024
LARGE_BYTES = 32 * len(FILE)
"""The size of a large video, which exceeds all buffers between service and client."""
SLOW_SECONDS = 2.0


def fixture(name: str) -> Any:
    """Load a JSON body of the specification."""
    return json.loads((FIXTURES / f"{name}.json").read_text())


class Videos(video_grpc.VideoServiceServicer):
    """Responds with the specification's examples.

    `vid_cut` fails in the middle of the file, `vid_stalls` stalls there, `vid_large` is large, `vid_slow` is slow, and
    the first two streams on `vid_long` end at a deadline.
    """

    def __init__(self) -> None:
        self.created: list[video_pb.CreateVideoRequest] = []
        self.deadlines = 2
        self.metadata: dict[str, Any] = {}

    async def CreateVideo(self, request: video_pb.CreateVideoRequest, context: Any) -> video_pb.CreateVideoResponse:
        self.created.append(request)
        self.metadata = dict(context.invocation_metadata())
        answer = video_pb.CreateVideoResponse()
        json_format.ParseDict(fixture("create_video_response"), answer)
        await context.send_initial_metadata((("x-http-code", "202"), ("location", f"/v1{answer.progress_url}")))
        return answer

    async def GetVideoStatus(
        self, request: video_pb.GetVideoStatusRequest, context: Any
    ) -> video_pb.GetVideoStatusResponse:
        if request.job_id == "vid_none":
            raise NotFound("there is no video vid_none", reason="VIDEO_NOT_FOUND")
        answer = video_pb.GetVideoStatusResponse()
        json_format.ParseDict(fixture("video_status_response"), answer)
        return answer

    async def WatchVideo(
        self, request: video_pb.WatchVideoRequest, context: Any
    ) -> AsyncIterator[video_pb.WatchVideoResponse]:
        for progress in (0, 50, 100):
            yield video_pb.WatchVideoResponse(
                status=video_pb.GetVideoStatusResponse(job_id=request.job_id, progress=progress)
            )
            if request.job_id == "vid_long" and self.deadlines:
                self.deadlines -= 1
                raise DeadlineExceeded("the stream has lasted as long as one may", reason="DEADLINE_EXCEEDED")

    async def GetVideo(self, request: video_pb.GetVideoRequest, context: Any) -> video_pb.GetVideoResponse:
        if request.job_id == "vid_slow":
            await asyncio.sleep(SLOW_SECONDS)
        return video_pb.GetVideoResponse(
            video=video_pb.Video(job_id=request.job_id, title=identity.user().id, duration=118, file_size=52428800)
        )

    async def ListVideos(self, request: video_pb.ListVideosRequest, context: Any) -> video_pb.ListVideosResponse:
        found = [video_pb.Video(title="x" * 1000)] * 2000 if request.page_token == "large" else []
        return video_pb.ListVideosResponse(videos=found, next_page_token=f"{request.page_size} {request.page_token}")

    async def DownloadVideo(
        self, request: video_pb.DownloadVideoRequest, context: Any
    ) -> AsyncIterator[video_pb.DownloadVideoResponse]:
        if request.job_id == "vid_none":
            raise NotFound("there is no video vid_none", reason="VIDEO_NOT_FOUND")
        self.metadata = dict(context.invocation_metadata())
        if self.metadata.get("if-none-match") == ETAG:
            await context.send_initial_metadata(
                (("x-http-code", "304"), ("etag", ETAG), ("x-content-length", str(len(FILE))))
            )
            return
        if self.metadata.get("range") == f"bytes={len(FILE)}-":
            await context.send_initial_metadata((("x-http-code", "416"), ("content-range", f"bytes */{len(FILE)}")))
            raise InvalidArgument("the file has no such part", reason="REQUEST_INVALID")
        if self.metadata.get("range") == f"bytes=0-{len(PART) - 1}":
            part = (("x-content-length", str(len(PART))), ("content-range", f"bytes 0-{len(PART) - 1}/{len(FILE)}"))
            await context.send_initial_metadata((("x-http-code", "206"), *part))
            yield video_pb.DownloadVideoResponse(data=httpbody_pb2.HttpBody(content_type="video/mp4", data=PART))
            return
        await context.send_initial_metadata(
            (
                ("x-content-length", str(len(FILE))),
                ("x-content-sha256", hashlib.sha256(FILE).hexdigest()),
                ("etag", ETAG),
                ("content-disposition", f'attachment; filename="{request.name or "video.mp4"}"'),
            )
        )
        if request.job_id == "vid_unreadable":
            raise DataLoss("the stored video was altered", reason="DATA_CORRUPT")
        size = LARGE_BYTES if request.job_id == "vid_large" else len(FILE)
        for at in range(0, size, CHUNK_BYTES):
            start = at % len(FILE)
            if request.job_id == "vid_cut" and start >= len(FILE) // 2:
                raise DataLoss("the stored video was altered", reason="DATA_CORRUPT")
            if request.job_id == "vid_stalls" and start >= len(FILE) // 2:
                await asyncio.get_running_loop().create_future()
            body = httpbody_pb2.HttpBody(content_type="video/mp4", data=FILE[start : start + CHUNK_BYTES])
            yield video_pb.DownloadVideoResponse(data=body)

    async def DownloadPreview(
        self, request: video_pb.DownloadPreviewRequest, context: Any
    ) -> AsyncIterator[video_pb.DownloadPreviewResponse]:
        if request.job_id == "vid_early":
            await context.send_initial_metadata((("x-http-code", "503"), ("retry-after", "1")))
            raise FailedPrecondition("nothing to see yet", reason="VIDEO_NOT_READY", retry_after_seconds=1.0)
        name = request.name or "playlist"
        await context.send_initial_metadata((("x-content-length", str(len(name))),))
        kind = "video/mp4" if request.name else "application/vnd.apple.mpegurl"
        yield video_pb.DownloadPreviewResponse(data=httpbody_pb2.HttpBody(content_type=kind, data=name.encode()))

    async def UploadAsset(
        self, request_iterator: AsyncIterator[video_pb.UploadAssetRequest], context: Any
    ) -> video_pb.UploadAssetResponse:
        self.metadata = dict(context.invocation_metadata())
        names, size, digest = [], 0, hashlib.sha256()
        async for request in request_iterator:
            names.append(request.filename)
            size += len(request.data.data)
            digest.update(request.data.data)
            if names[0] == "endless" and size > 2_000_000:
                raise ResourceExhausted("the file is larger than 2 MB", reason="ASSET_TOO_LARGE")
        await context.send_initial_metadata((("x-http-code", "201"),))
        return video_pb.UploadAssetResponse(
            asset_id="ast_1", filename=names[0], size_bytes=size, sha256=digest.hexdigest()
        )


class Clips(clip_grpc.ClipServiceServicer):
    """Describes every file as a short video of the file's size."""

    async def ProbeFile(
        self, request_iterator: AsyncIterator[clip_pb.ProbeFileRequest], context: Any
    ) -> clip_pb.ProbeFileResponse:
        size, digest = 0, hashlib.sha256()
        async for request in request_iterator:
            size += len(request.data.data)
            digest.update(request.data.data)
        clip = clip_pb.ClipFacts(
            duration=1.0,
            file_size=size,
            sha256=digest.hexdigest(),
            width=1920,
            height=1080,
            frame_rate=30.0,
            video_codec="h264",
        )
        return clip_pb.ProbeFileResponse(clip=clip)


class Events(event_grpc.EventServiceServicer):
    """Sends two events and a keep-alive, then nothing until the call ends."""

    def __init__(self) -> None:
        self.requests: list[event_pb.WatchEventsRequest] = []
        self.metadata: dict[str, Any] = {}

    async def WatchEvents(
        self, request: event_pb.WatchEventsRequest, context: Any
    ) -> AsyncIterator[event_pb.WatchEventsResponse]:
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        await context.send_initial_metadata(())
        if interceptor.HEAD in self.metadata:
            return
        for number in (7, 12):
            event = event_pb.WatchEventsResponse(
                position=str(number),
                event_id=f"vid_1-event-{number}",
                event_type="video.processing.progress",
                sequence=number,
                job_id='data: {"position":"1"',
            )
            event.payload.update({"progress": number})
            yield event
        # The stream is alive.
        yield event_pb.WatchEventsResponse()
        await asyncio.Event().wait()

    async def AcknowledgeEvents(
        self, request: event_pb.AcknowledgeEventsRequest, context: Any
    ) -> event_pb.AcknowledgeEventsResponse:
        return event_pb.AcknowledgeEventsResponse(position=request.position)


class Users(user_grpc.UserServiceServicer):
    """Returns a list of keys, and accepts every sign-in."""

    def __init__(self, keys: list[dict[str, Any]]) -> None:
        self.keys = keys

    async def SignIn(self, request: user_pb.SignInRequest, context: Any) -> user_pb.SignInResponse:
        return user_pb.SignInResponse(access_token=request.username, token_type="Bearer", expires_in=60)

    async def RefreshToken(self, request: user_pb.RefreshTokenRequest, context: Any) -> user_pb.RefreshTokenResponse:
        return user_pb.RefreshTokenResponse(access_token=request.refresh_token, token_type="Bearer", expires_in=60)

    async def ListSigningKeys(
        self, request: user_pb.ListSigningKeysRequest, context: Any
    ) -> user_pb.ListSigningKeysResponse:
        return user_pb.ListSigningKeysResponse(keys=[user_pb.SigningKey(**key) for key in self.keys])


class Monitoring(monitoring_grpc.MonitoringServiceServicer):
    """Reports the health that a test sets."""

    def __init__(self) -> None:
        self.status = "healthy"
        self.down: set[str] = set()

    async def is_well(self) -> bool:
        """Report whether the platform is healthy."""
        return self.status != "unhealthy"

    async def is_serving(self, service: str, check: str) -> bool:
        """Report whether a service is healthy."""
        return service not in self.down

    async def GetHealth(self, request: monitoring_pb.GetHealthRequest, context: Any) -> monitoring_pb.GetHealthResponse:
        answer = monitoring_pb.GetHealthResponse()
        json_format.ParseDict({**fixture("health_response"), "status": self.status}, answer)
        code = "503" if self.status == "unhealthy" else "200"
        await context.send_initial_metadata((("x-http-code", code),))
        return answer


@dataclass
class Platform:
    """The stubs of the public services in a mesh."""

    mesh: Mesh
    users: Users
    videos: Videos = field(default_factory=Videos)
    clips: Clips = field(default_factory=Clips)
    events: Events = field(default_factory=Events)
    monitoring: Monitoring = field(default_factory=Monitoring)

    def _wire(self, service: str) -> Wire:
        @asynccontextmanager
        async def wire(_: None, runtime: Runtime) -> AsyncIterator[None]:
            match service:
                case "orchestrator":
                    runtime.add(video_grpc.add_VideoServiceServicer_to_server, self.videos)
                    runtime.add(clip_grpc.add_ClipServiceServicer_to_server, self.clips)
                    runtime.add(event_grpc.add_EventServiceServicer_to_server, self.events)
                case "user":
                    runtime.add(user_grpc.add_UserServiceServicer_to_server, self.users)
                case "monitoring":
                    runtime.add(monitoring_grpc.add_MonitoringServiceServicer_to_server, self.monitoring)
                    public = PublicHealth(self.monitoring.is_well, self.monitoring.is_serving, 0.0, time.monotonic)
                    health = PublicHealthServicer(public, runtime.stopping)
                    runtime.add(public_grpc.add_PublicHealthServiceServicer_to_server, health)
            yield

        return wire

    async def start(self, service: str) -> None:
        """Start one of the services."""
        await self.mesh.start(service, None, self._wire(service))

    @asynccontextmanager
    async def run_another(self, service: str) -> AsyncIterator[str]:
        """Run another instance of a service while the context is open. Yields its address."""
        async with self.mesh.another(service, self._wire(service)) as runtime:
            yield f"127.0.0.1:{runtime.port}"

    def gateway(self) -> Gateway:
        """Return settings of a gateway that fetches keys every second and has high limits for users."""
        config = self.mesh.config
        return Gateway(
            addresses={service: config.address(service) for service in PUBLIC_SERVICES},
            certificates=config.certificates,
            keys_seconds=1,
            user_burst=1_000_000,
            address_burst=1_000_000,
        )


def public_key(key: Any, key_id: str = "test") -> dict[str, Any]:
    """Return the public part of a private key as a JSON Web Key."""
    return {
        **jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True),
        "kid": key_id,
        "use": "sig",
        "alg": "ES256",
    }


@asynccontextmanager
async def run_gateway(mesh: Mesh, folder: Path) -> AsyncIterator[tuple[Platform, proxy.Proxy]]:
    """Run the stubs and a gateway that has their keys."""
    platform = Platform(mesh, Users([public_key(mesh._key)]))  # type: ignore[abstract]
    async with AsyncExitStack() as stack:
        for service in ("orchestrator", "user", "monitoring"):
            await platform.start(service)
        gateway = await stack.enter_async_context(proxy.run_proxy(platform.gateway(), folder))
        await gateway.wait_for_keys()
        yield platform, gateway
