"""Servicer: the edge of the processing service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from moneyprinter.media.v1 import media_pb2
from moneyprinter.processing.v1 import processing_service_pb2 as pb
from moneyprinter.processing.v1 import processing_service_pb2_grpc as pb_grpc
from services.media.encoding import Codec, Quality
from services.processing import spec
from services.processing.segments import RenderRequest, Segment, SegmentRenderer
from services.processing.source import Source
from services.runtime.progress import OnProgress, stream_progress

# The contract's values have the names of the members.
_FITS = {media_pb2.Fit.Value(f"FIT_{fit.name}"): fit for fit in spec.Fit}
_MOTIONS = {media_pb2.MOTION_UNSPECIFIED: None} | {
    media_pb2.Motion.Value(f"MOTION_{motion.name}"): motion for motion in spec.Motion
}
_TRANSITIONS = {media_pb2.TRANSITION_UNSPECIFIED: None} | {
    media_pb2.Transition.Value(f"TRANSITION_{transition.name}"): transition for transition in spec.Transition
}
_QUALITIES = {media_pb2.Quality.Value(f"QUALITY_{quality.name}"): quality for quality in Quality}
_CODECS = {media_pb2.CODEC_UNSPECIFIED: Codec.H264} | {
    media_pb2.Codec.Value(f"CODEC_{codec.name}"): codec for codec in Codec
}


class ProcessingServicer(pb_grpc.ProcessingServiceServicer):
    """ProcessingService."""

    def __init__(self, renderer: SegmentRenderer[media_pb2.Object]) -> None:
        self._renderer = renderer

    async def RenderSegment(
        self, request: pb.RenderSegmentRequest, context: Any
    ) -> AsyncIterator[pb.RenderSegmentResponse]:
        async def render(on_progress: OnProgress) -> pb.RenderSegmentResponse:
            return _response(await self._renderer.render(_to_request(request.segment, request.priority), on_progress))

        async with aclosing(stream_progress(render, _progress)) as responses:
            async for response in responses:
                yield response


def _to_request(segment: media_pb2.Segment, priority: int) -> RenderRequest[media_pb2.Object]:
    sources = {source.object.sha256: source for source in _iterate_sources(segment)}
    indices = {sha256: index for index, sha256 in enumerate(sources)}
    segment_spec = spec.Spec(
        shots=tuple(_to_shot(shot, indices, segment.frame_count) for shot in segment.shots),
        frame_count=segment.frame_count,
        canvas=spec.Canvas(segment.canvas.width, segment.canvas.height, segment.canvas.frames_per_second),
        quality=_QUALITIES[segment.quality],
        codec=_CODECS[segment.codec],
        transition=_TRANSITIONS[segment.transition],
        overlays=tuple(_to_overlay(overlay, indices) for overlay in segment.overlays),
        captions_ass=segment.captions_ass,
        renditions=tuple(spec.Size(size.width, size.height) for size in segment.renditions),
    )
    objects = tuple((source.object, _to_source(source)) for source in sources.values())
    return RenderRequest(objects, segment_spec, _identity(segment), priority, is_first=segment.index == 0)


def _to_source(source: media_pb2.Source) -> Source:
    return Source(
        width=source.width,
        height=source.height,
        has_matrix=source.has_matrix,
        has_primaries=source.has_primaries,
        hdr_transfer=source.hdr_transfer,
        wide_gamut=source.wide_gamut,
        interlaced=source.interlaced,
        has_alpha=source.has_alpha,
        decoder=source.decoder,
        format=source.format,
        still=source.still,
        track=source.track,
        rotation=source.rotation,
        mirrored=source.mirrored,
        picture_end=source.picture_end,
        seconds=source.seconds,
        stream=source.stream,
        picture_start=source.picture_start,
        key_gap=source.key_gap,
        pixel_shape=source.pixel_shape or 1.0,
    )


def _to_shot(shot: media_pb2.Shot, indices: dict[str, int], frames: int) -> spec.Shot:
    if shot.HasField("focus"):
        focus = spec.Point(shot.focus.x, shot.focus.y)
    else:
        focus = spec.Point(shot.source.focus_x or 0.5, shot.source.focus_y or 0.5)
    return spec.Shot(_to_content(shot, indices, frames), _FITS[shot.fit], focus, max(1.0, shot.zoom))


def _to_content(
    shot: media_pb2.Shot, indices: dict[str, int], frames: int
) -> spec.Clip | spec.Still | spec.Colour | spec.Background:
    match shot.WhichOneof("shows"):
        case "colour":
            second = _to_rgb(shot.second_colour) if shot.second_colour else None
            return spec.Colour(_to_rgb(shot.colour), second, shot.motion_frames or frames, shot.motion_first_frame)
        case "background":
            colours = tuple(map(_to_rgb, shot.background.colours))
            return spec.Background(shot.background.seed, colours, shot.motion_first_frame)
    index = indices[shot.source.object.sha256]
    if shot.source.still:
        return spec.Still(index, _MOTIONS[shot.motion], shot.motion_frames or frames, shot.motion_first_frame)
    return spec.Clip(index, shot.source_start.ToTimedelta(), spec.check_speed(shot.speed or 1.0))


def _to_rgb(colour: str) -> int:
    return int(colour[1:], 16)


def _to_overlay(overlay: media_pb2.Overlay, indices: dict[str, int]) -> spec.Overlay:
    return spec.Overlay(
        source=indices[overlay.image.object.sha256],
        centre=spec.Point(overlay.centre.x, overlay.centre.y),
        width=overlay.width,
        opacity=overlay.opacity,
        first_frame=overlay.first_frame,
        frame_count=overlay.frame_count,
        margin=overlay.margin,
        start=overlay.source_start.ToTimedelta(),
    )


def _iterate_sources(segment: media_pb2.Segment) -> Iterator[media_pb2.Source]:
    """Yields the sources of a segment, in the order of their uses and as often."""
    for shot in segment.shots:
        if shot.WhichOneof("shows") == "source":
            yield shot.source
    for overlay in segment.overlays:
        yield overlay.image


def _identity(segment: media_pb2.Segment) -> bytes:
    """The segment without its index in the timeline and without the keys of its sources, as bytes."""
    same = media_pb2.Segment()
    same.CopyFrom(segment)
    same.index = 0
    for source in _iterate_sources(same):
        source.object.CopyFrom(media_pb2.Object(sha256=source.object.sha256))
    return same.SerializeToString(deterministic=True)


def _progress(fraction: float) -> pb.RenderSegmentResponse:
    return pb.RenderSegmentResponse(progress=media_pb2.Progress(fraction=fraction))


def _response(segment: Segment[media_pb2.Object]) -> pb.RenderSegmentResponse:
    return pb.RenderSegmentResponse(
        segment=pb.RenderedSegment(
            video=segment.videos[0],
            renditions=segment.videos[1:],
            frame_count=segment.fragment.frame_count,
            reused=segment.reused,
            header_bytes=segment.fragment.header_bytes,
            time_offset=segment.fragment.time_offset,
            ticks_per_second=segment.fragment.ticks_per_second,
        )
    )
