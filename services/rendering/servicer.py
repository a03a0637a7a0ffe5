"""The edge of the rendering service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration

from moneyprinter.media.v1 import media_pb2
from moneyprinter.rendering.v1 import rendering_service_pb2 as pb
from moneyprinter.rendering.v1 import rendering_service_pb2_grpc as pb_grpc
from services.rendering.finish import Container, Form
from services.rendering.videos import Finisher, Order, Video
from services.runtime.progress import OnProgress, stream_progress

_CONTAINERS = {pb.Container.Value(f"CONTAINER_{container.name}"): container for container in Container}


class RenderingServicer(pb_grpc.RenderingServiceServicer):
    """RenderingService."""

    def __init__(self, finisher: Finisher[media_pb2.Object]) -> None:
        self._finisher = finisher

    async def TakePoster(self, request: pb.TakePosterRequest, context: Any) -> pb.TakePosterResponse:
        name, stored = await self._finisher.take_poster(request.video, request.folder)
        return pb.TakePosterResponse(poster=pb.File(name=name, object=stored))

    async def FinishVideo(self, request: pb.FinishVideoRequest, context: Any) -> AsyncIterator[pb.FinishVideoResponse]:
        async def finish(on_progress: OnProgress) -> pb.FinishVideoResponse:
            return _response(await self._finisher.finish(_order(request), on_progress))

        async with aclosing(stream_progress(finish, _progress)) as responses:
            async for response in responses:
                yield response


def _order(request: pb.FinishVideoRequest) -> Order[media_pb2.Object]:
    return Order(
        pictures=(request.video, *(rendition.video for rendition in request.renditions)),
        sound=request.audio,
        form=Form(
            container=_CONTAINERS[request.container],
            seconds=request.duration.ToTimedelta().total_seconds(),
            title=request.title,
            renditions=tuple(rendition.name for rendition in request.renditions),
            animation=request.gif,
            may_be_black=request.may_be_black,
            may_be_silent=request.may_be_silent,
        ),
        folder=request.folder,
    )


def _progress(fraction: float) -> pb.FinishVideoResponse:
    return pb.FinishVideoResponse(progress=media_pb2.Progress(fraction=fraction))


def _response(video: Video[media_pb2.Object]) -> pb.FinishVideoResponse:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=video.measures.seconds))
    poster_time = Duration()
    poster_time.FromTimedelta(timedelta(seconds=video.poster_seconds))
    return pb.FinishVideoResponse(
        video=pb.FinishedVideo(
            files=[pb.File(name=name, object=stored) for name, stored in video.files],
            duration=duration,
            loudness_lufs=video.measures.loudness_lufs,
            true_peak_dbtp=video.measures.true_peak_dbtp,
            poster_time=poster_time,
        )
    )
