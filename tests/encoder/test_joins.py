"""A segment that the encoder made joins those that processing made, frame by frame and bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import pytest

from moneyprinter.media.v1 import media_pb2
from services.concatenation import join
from services.concatenation.segments import check_alike, inspect
from services.encoder.frames import Codec, Format, Quality
from services.processing import picture, render, servicer, source
from services.processing.spec import Canvas, Clip, Shot, Spec
from services.runtime import children
from tests import media
from tests.encoder.pictures import Frame, chunks, decoded, moving
from tests.encoder.streams import Encoded, encode
from tests.mesh import ffmpeg_program

TOOL = render.Tool(ffmpeg_program(), "test", 1, 4096 * 2304, children.Limits(), None, "")
NUMBERS = {
    Quality.DRAFT: media_pb2.QUALITY_DRAFT,
    Quality.STANDARD: media_pb2.QUALITY_STANDARD,
    Quality.HIGH: media_pb2.QUALITY_HIGH,
    Quality.NEAR_LOSSLESS: media_pb2.QUALITY_NEAR_LOSSLESS,
}


@pytest.mark.parametrize("canvas", [Canvas(320, 180, 30), Canvas(270, 480, 25), Canvas(66, 50, 24)], ids=str)
@pytest.mark.parametrize("quality", [one for one in Quality if NUMBERS[one] in servicer._QUALITIES])
async def test_a_segment_encoded_here_joins_one_encoded_there(tmp_path: Path, canvas: Canvas, quality: Quality) -> None:
    there = await rendered(tmp_path, canvas, quality, 40)
    frames = moving(35, canvas.width, canvas.height)
    format = Format(canvas.width, canvas.height, canvas.frames_per_second, quality)
    encoded = await encode([format, *chunks(frames, 1 << 20)])
    written(tmp_path / join.name(2), encoded, canvas, like=there)
    for place in (1, 3):
        (tmp_path / join.name(place)).symlink_to(there)

    segments = [inspect(tmp_path / join.name(place), place) for place in (1, 2, 3)]
    assert segments[0].parameters == segments[1].parameters == encoded.started.extradata
    check_alike(segments)
    assert [step async for step in join.join(segments, tmp_path, ffmpeg_program())]
    shown = media.probe(tmp_path / join.JOINED)
    assert shown.times == tuple(Fraction(number, canvas.frames_per_second) for number in range(40 + 35 + 40))
    here = decoded(Codec.H264, encoded.started.extradata, encoded.data)
    assert all((one == other).all() for one, other in zip(pictures(tmp_path / join.JOINED)[40:75], here, strict=True))


async def rendered(folder: Path, canvas: Canvas, quality: Quality, frames: int) -> Path:
    """A segment as the processing service makes it."""
    work = folder / "work"
    work.mkdir()
    media.clip(work / "source0", seconds=2, container=("-f", "mp4"))
    spec = Spec((Shot(Clip(0)),), frames, canvas, servicer._QUALITIES[NUMBERS[quality]])
    async for _ in render.render(spec, [await source.look(work / "source0", TOOL.max_pixels)], work, TOOL):
        pass
    return work / picture.SEGMENT


def written(path: Path, encoded: Encoded, canvas: Canvas, like: Path) -> None:
    """Write what the encoder sent into a file, as it came. A stream can only be made `like` that of a file."""
    rate = canvas.frames_per_second
    options = {"video_track_timescale": str(rate * picture.FRAME_TICKS)}
    with av.open(str(like)) as template, av.open(str(path), "w", options=options) as container:
        stream = container.add_stream_from_template(template.streams.video[0])
        stream.codec_context.extradata = encoded.started.extradata
        for coded in encoded.packets:
            packet = av.Packet(coded.data)
            packet.stream, packet.time_base = stream, Fraction(1, rate)
            packet.pts, packet.dts, packet.duration = coded.pts, coded.dts, 1
            packet.is_keyframe = coded.keyframe
            container.mux(packet)


def pictures(path: Path) -> Sequence[Frame]:
    """The frames of a file."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="yuv420p").ravel() for frame in container.decode(video=0)]
