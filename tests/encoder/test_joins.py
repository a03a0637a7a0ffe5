"""The encoder and processing encode the same frames alike, and their segments join frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from services.concatenation import join
from services.concatenation.segments import PixelFormats, check_compatible, read_segment
from services.encoder import backends
from services.encoder.frames import Format
from services.media.encoding import Codec, Quality
from services.processing import command, graph, render
from services.processing import spec as processing
from services.processing.fonts import Fonts
from services.runtime import children
from tests import media
from tests.encoder.frames import Frame, decode_packets, moving_frames, split_frames
from tests.encoder.streams import MACHINE, SOFTWARE, Encoded, encode, encoder
from tests.mesh import ffmpeg_program
from tests.sources import probe_source

TOOL = render.Tool(ffmpeg_program(), "test", MACHINE.threads, 4096 * 2304, children.Limits(), Fonts([]))
BACKENDS = {backend.codec: backend for backend in SOFTWARE.values()}
# Packets of VP9 do not declare their colour primaries, so processing encodes VP9 itself.
STREAMED = [codec for codec in Codec if codec is not Codec.VP9]
LEVELS = [
    *((codec, Quality.STANDARD) for codec in STREAMED),
    *((Codec.H264, quality) for quality in Quality if quality is not Quality.STANDARD),
]


def format_of(codec: Codec, quality: Quality, rate: int = 30) -> Format:
    return Format(128, 128, rate, quality, codec)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("quality", Quality)
def test_software_encoders_have_the_same_options_in_both_services(codec: Codec, quality: Quality) -> None:
    for rate, threads in ((24, 1), (60, 8)):
        canvas = processing.Canvas(128, 128, rate)
        shots = (processing.Shot(processing.Colour(0)),)
        arguments = command.segment_arguments(processing.Spec(shots, 1, canvas, quality, codec=codec), [], threads, 1)
        there = dict(pairwise(arguments))
        assert there["-c:v"] == BACKENDS[codec].name
        here = backends.codec_options(BACKENDS[codec], format_of(codec, quality, rate), threads)
        assert {f"-{name}": str(value) for name, value in here.items()}.items() <= there.items()


@pytest.mark.parametrize(("codec", "quality"), LEVELS)
async def test_the_same_frames_give_the_same_bytes_in_both_services(
    tmp_path: Path, codec: Codec, quality: Quality
) -> None:
    format, frames = format_of(codec, quality), moving_frames(40, 128, 128)
    there = await render_segment(tmp_path, format, frames)
    encoded = await encode([format, *split_frames(frames, 1 << 20)], await encoder(BACKENDS[codec]))
    assert encoded.started.extradata == read_segment(there, 1, {}).parameters
    with av.open(str(there)) as container:
        assert encoded.data == [bytes(packet) for packet in container.demux(video=0) if packet.size]


# PyAV cannot write a stream of AV1 like that of a file; its bytes are compared above.
@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
@pytest.mark.parametrize("rate", [24, 30])
async def test_segments_of_both_services_join(tmp_path: Path, codec: Codec, rate: int) -> None:
    format, frames = format_of(codec, Quality.STANDARD, rate), moving_frames(35, 128, 128)
    there = await render_segment(tmp_path, format, moving_frames(40, 128, 128))
    encoded = await encode([format, *split_frames(frames, 1 << 20)], await encoder(BACKENDS[codec]))
    write_segment(tmp_path / join.segment_file(2), encoded, rate, like=there)
    for place in (1, 3):
        (tmp_path / join.segment_file(place)).symlink_to(there)
    formats: PixelFormats = {}
    segments = [read_segment(tmp_path / join.segment_file(place), place, formats) for place in (1, 2, 3)]
    check_compatible(segments)
    await join.join_segments(segments, tmp_path, ffmpeg_program())
    shown = media.probe(tmp_path / join.JOINED)
    assert shown.times == tuple(Fraction(number, rate) for number in range(40 + 35 + 40))
    here = decode_packets(codec, encoded.started.extradata, encoded.data)
    assert all(
        (one == other).all() for one, other in zip(read_frames(tmp_path / join.JOINED)[40:75], here, strict=True)
    )


async def render_segment(folder: Path, format: Format, frames: Sequence[Frame]) -> Path:
    """Render a clip with these frames as the processing service does. Returns the segment."""
    work = folder / "work"
    work.mkdir()
    raw = folder / "frames.yuv"
    raw.write_bytes(b"".join(frame.tobytes() for frame in frames))
    coming = ("-f", "rawvideo", "-pixel_format", "yuv420p", "-video_size", f"{format.width}x{format.height}")
    rate = ("-framerate", str(format.frames_per_second))
    colours = ("-vf", "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv")
    media.ffmpeg(*coming, *rate, "-i", raw, *colours, *media.LOSSLESS, "-f", "mp4", work / graph.source_name(0))
    canvas = processing.Canvas(format.width, format.height, format.frames_per_second)
    shots = (processing.Shot(processing.Clip(0)),)
    wanted = processing.Spec(shots, len(frames), canvas, format.quality, codec=format.codec)
    await render.render(wanted, [await probe_source(work / graph.source_name(0))], work, TOOL)
    return work / command.SEGMENT


def write_segment(path: Path, encoded: Encoded, rate: int, like: Path) -> None:
    """Write encoded packets to a file, unchanged. PyAV needs the stream of a file as a template (`like`)."""
    options = {"video_track_timescale": str(rate * command.FRAME_TICKS)}
    with av.open(str(like)) as template, av.open(str(path), "w", options=options) as container:
        stream = container.add_stream_from_template(template.streams.video[0])
        stream.codec_context.extradata = encoded.started.extradata
        for coded in encoded.packets:
            packet = av.Packet(coded.data)
            packet.stream, packet.time_base = stream, Fraction(1, rate)
            packet.pts, packet.dts, packet.duration = coded.pts, coded.dts, 1
            packet.is_keyframe = coded.keyframe
            container.mux(packet)


def read_frames(path: Path) -> Sequence[Frame]:
    """Returns the frames of a file."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    return [np.asarray(frame, np.uint8).ravel() for frame in frames]
