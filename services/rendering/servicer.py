"""Servicer: the edge of the rendering service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration

from moneyprinter.media.v1 import media_pb2
from moneyprinter.rendering.v1 import rendering_service_pb2 as pb
from moneyprinter.rendering.v1 import rendering_service_pb2_grpc as pb_grpc
from services.rendering.finish import Container, OutputSpec
from services.rendering.videos import FinishRequest, Video, VideoFinisher
from services.runtime.progress import OnProgress, stream_progress

_CONTAINERS = {pb.Container.Value(f"CONTAINER_{container.name}"): container for container in Container}


class RenderingServicer(pb_grpc.RenderingServiceServicer):
    """RenderingService."""

    def __init__(self, finisher: VideoFinisher[media_pb2.Object]) -> None:
        self._finisher = finisher

    async def TakePoster(self, request: pb.TakePosterRequest, context: Any) -> pb.TakePosterResponse:
        name, stored = await self._finisher.take_poster(request.video, request.folder)
        return pb.TakePosterResponse(poster=pb.File(name=name, object=stored))

    async def FinishVideo(self, request: pb.FinishVideoRequest, context: Any) -> AsyncIterator[pb.FinishVideoResponse]:
        async def finish(on_progress: OnProgress) -> pb.FinishVideoResponse:
            return _response(await self._finisher.finish(_to_request(request), on_progress))

        async with aclosing(stream_progress(finish, _progress)) as responses:
            async for response in responses:
                yield response


def _to_request(request: pb.FinishVideoRequest) -> FinishRequest[media_pb2.Object]:
    return FinishRequest(
        video_tracks=(request.video, *(rendition.video for rendition in request.renditions)),
        audio_track=request.audio,
        spec=OutputSpec(
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
    duration.FromTimedelta(timedelta(seconds=video.measurements.seconds))
    poster_time = Duration()
    poster_time.FromTimedelta(timedelta(seconds=video.poster_seconds))
    return pb.FinishVideoResponse(
        video=pb.FinishedVideo(
            files=[pb.File(name=name, object=stored) for name, stored in video.files],
            duration=duration,
            loudness_lufs=video.measurements.loudness_lufs,
            true_peak_dbtp=video.measurements.true_peak_dbtp,
            poster_time=poster_time,
        )
    )
