"""Auditing: a fake audit log, and services whose calls it records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from moneyprinter import errors
from moneyprinter.content.v1 import content_service_pb2 as content_pb
from moneyprinter.content.v1 import content_service_pb2_grpc as content_grpc
from moneyprinter.user.v1 import audit_service_pb2 as pb
from moneyprinter.user.v1 import audit_service_pb2_grpc as pb_grpc
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from moneyprinter.video.v1 import video_service_pb2_grpc as video_grpc
from services.runtime import identity
from services.runtime.server import Runtime
from tests.mesh import Mesh


@dataclass
class Trail(pb_grpc.AuditServiceServicer):
    """An audit log in memory, which can be made unreachable."""

    events: list[pb.AuditEvent] = field(default_factory=list)
    senders: set[str] = field(default_factory=set)
    is_away: bool = False
    tries: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def AppendEvents(self, request: pb.AppendEventsRequest, context: Any) -> pb.AppendEventsResponse:
        async with self.changed:
            self.tries += 1
            self.changed.notify_all()
            if self.is_away:
                raise errors.Unavailable("away", reason="SERVICE_UNAVAILABLE")
            self.senders.add(identity.caller())
            self.events += request.events
        return pb.AppendEventsResponse()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(holds)

    async def wait_events(self, action: str, number: int = 1) -> list[pb.AuditEvent]:
        """Wait for `number` events of an action, and return all of them."""

        def found() -> list[pb.AuditEvent]:
            return [event for event in self.events if event.action == action]

        await self.until(lambda: len(found()) >= number)
        return found()


class Videos(video_grpc.VideoServiceServicer):
    """A video service with one video."""

    async def CreateVideo(self, request: video_pb.CreateVideoRequest, context: Any) -> video_pb.CreateVideoResponse:
        return video_pb.CreateVideoResponse(job_id="vid_1")

    async def GetVideo(self, request: video_pb.GetVideoRequest, context: Any) -> video_pb.GetVideoResponse:
        if request.job_id != "vid_1":
            raise errors.NotFound("there is no such video", reason="VIDEO_NOT_FOUND")
        return video_pb.GetVideoResponse()

    async def WatchVideo(
        self, request: video_pb.WatchVideoRequest, context: Any
    ) -> AsyncIterator[video_pb.WatchVideoResponse]:
        for _ in range(3):
            yield video_pb.WatchVideoResponse()

    async def UploadAsset(
        self, requests: AsyncIterator[video_pb.UploadAssetRequest], context: Any
    ) -> video_pb.UploadAssetResponse:
        async for _ in requests:
            pass
        return video_pb.UploadAssetResponse(asset_id="ast_1")


class Scripts(content_grpc.ContentServiceServicer):
    """A content service whose calls are not recorded."""

    async def WriteScript(self, request: content_pb.WriteScriptRequest, context: Any) -> content_pb.WriteScriptResponse:
        return content_pb.WriteScriptResponse(writer="caller")


def wiring(add: Any, servicer: Any) -> Any:
    @asynccontextmanager
    async def wire(_: None, runtime: Runtime) -> AsyncIterator[None]:
        runtime.add(add, servicer)
        yield

    return wire


async def content(mesh: Mesh) -> Any:
    await mesh.start("content", None, wiring(content_grpc.add_ContentServiceServicer_to_server, Scripts()))  # type: ignore[abstract]
    return mesh.stub(content_grpc.ContentServiceStub)


def event_fields(event: pb.AuditEvent) -> dict[str, Any]:
    """Return the fields of an event that do not change between runs."""
    names = ("actor", "credential", "peer", "target", "result", "address", "trace_id")
    return {name: value for name in names if (value := getattr(event, name))}
