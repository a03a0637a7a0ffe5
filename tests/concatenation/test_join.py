"""Joined videos show every frame once, in even steps and unchanged; incompatible segments are refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from moneyprinter.errors import FailedPrecondition
from services.concatenation import join
from services.concatenation.segments import PixelFormats, check_compatible, read_segment
from services.media.encoding import Codec, Quality
from services.processing import command, graph, render
from services.processing.fonts import Fonts
from services.processing.spec import Canvas, Clip, Fit, Shot, Spec
from services.runtime import children
from tests import media
from tests.mesh import ffmpeg_program
from tests.sources import probe_source

DRAFT, STANDARD, HIGH = Quality.DRAFT, Quality.STANDARD, Quality.HIGH
TOOL = render.Tool(ffmpeg_program(), "test", 1, 4096 * 2304, children.Limits(), Fonts([]))


async def segment(folder: Path, place: int, clip: Path, frames: int, rate: int = 30, **options: Any) -> Path:
    """Render the segment with number `place`, as the processing service does."""
    work = folder / f"work {place}"
    work.mkdir()
    (work / graph.source_name(0)).symlink_to(clip)
    width, height = options.pop("size", (64, 36))
    shot = Shot(Clip(0, options.pop("start", timedelta())), options.pop("fit", Fit.COVER))
    options = {"quality": STANDARD, **options}
    spec = Spec((shot,), frames, Canvas(width, height, rate), **options)
    found = await probe_source(work / graph.source_name(0))
    await render.render(spec, [found], work, TOOL)
    return (work / command.SEGMENT).rename(folder / join.segment_file(place))


async def join_files(folder: Path, count: int) -> list[float]:
    """Join the first `count` segments of a folder. Returns the progress."""
    formats: PixelFormats = {}
    segments = [read_segment(folder / join.segment_file(place), place, formats) for place in range(1, count + 1)]
    check_compatible(segments)
    progress: list[float] = []
    await join.join_segments(segments, folder, ffmpeg_program(), progress.append)
    return progress


def decoding_times(path: Path) -> list[int]:
    """Returns the decoding time of each packet, in ticks."""
    with av.open(str(path)) as container:
        return [packet.dts for packet in container.demux(video=0) if packet.dts is not None]


@pytest.mark.parametrize("quality", [DRAFT, STANDARD, HIGH])
@pytest.mark.parametrize(("rate", "lengths"), [(30, [31, 1, 17, 2, 62]), (7, [5, 9, 3]), (25, [20])])
async def test_every_frame_is_shown_once_in_even_steps(
    tmp_path: Path, quality: Quality, rate: int, lengths: Sequence[int]
) -> None:
    # Plain and moving segments alternate, so that the encoder makes different decisions.
    sources = (media.clip(tmp_path / "moving.mp4", size=(64, 36), seconds=2.2), media.numbered(tmp_path / "still.mp4"))
    for place, length in enumerate(lengths, 1):
        await segment(tmp_path, place, sources[(place + 1) % 2], length, rate, quality=quality)
    await join_files(tmp_path, len(lengths))
    result = tmp_path / join.JOINED
    video = media.probe(result)
    assert video.start == 0 and video.times == tuple(Fraction(number, rate) for number in range(sum(lengths)))
    assert (video.rate, video.colours) == (Fraction(rate), (1, 1, 1, 1))
    assert video.seconds == pytest.approx(sum(lengths) / rate, abs=1e-5)
    parts = [
        frame for place in range(1, len(lengths) + 1) for frame in media.hashes(tmp_path / join.segment_file(place))
    ]
    assert media.hashes(result) == parts, "the pictures are the segments'"
    times = decoding_times(result)
    assert {later - earlier for earlier, later in pairwise(times)} <= {command.FRAME_TICKS}


OTHERS: dict[Codec, tuple[str, ...]] = {
    Codec.H264: ("-c:v", "libx264", "-preset", "slow", "-refs", "5", "-bf", "1", "-profile:v", "high"),
    Codec.H265: (
        "-c:v",
        "libx265",
        "-x265-params",
        "log-level=none:ctu=16:bframes=1:ref=1:open-gop=0",
    ),
    Codec.VP9: ("-c:v", "libvpx-vp9", "-tile-columns", "0", "-lag-in-frames", "0"),
    Codec.AV1: ("-c:v", "libsvtav1", "-preset", "13", "-svtav1-params", "pred-struct=1"),
}


@pytest.mark.parametrize("codec", list(Codec))
async def test_segments_of_two_encoders_are_joined(tmp_path: Path, codec: Codec) -> None:
    """GPU and software encoders have different parameter sets, which change in the middle of the file."""
    clip = media.numbered(tmp_path / "clip.mp4", size=(128, 128), seconds=2)
    for place, start in ((1, 0), (3, 40)):
        at = timedelta(seconds=start / 30)
        await segment(tmp_path, place, clip, 20, start=at, codec=codec, size=(128, 128))
    fragmented = (
        "-movflags",
        "+cmaf+frag_custom+skip_trailer",
        "-video_track_timescale",
        str(30 * command.FRAME_TICKS),
    )
    cut = ("-ss", str(20 / 30), "-i", str(clip), "-frames:v", "20", "-pix_fmt", "yuv420p", *OTHERS[codec], *fragmented)
    media.ffmpeg(*cut, tmp_path / join.segment_file(2))
    formats: PixelFormats = {}
    segments = [read_segment(tmp_path / join.segment_file(place), place, formats) for place in (1, 2, 3)]
    assert codec in (Codec.VP9, Codec.AV1) or segments[1].parameters != segments[0].parameters
    await join_files(tmp_path, 3)
    result = tmp_path / join.JOINED
    parts = [frame for place in (1, 2, 3) for frame in media.hashes(tmp_path / join.segment_file(place))]
    assert media.hashes(result) == parts
    assert media.numbers(result) == list(range(60))
    # Also from the middle, by a decoder that has read nothing before.
    media.ffmpeg("-ss", "1.0", "-i", result, *media.LOSSLESS, tmp_path / "end.mp4")
    assert media.numbers(tmp_path / "end.mp4") == list(range(30, 60))


async def test_seeking_to_a_join_shows_its_frame(tmp_path: Path) -> None:
    clip = media.numbered(tmp_path / "clip.mp4", seconds=2)
    for place, start in enumerate((0, 40, 20), 1):
        await segment(tmp_path, place, clip, 10, start=timedelta(seconds=start / 30), quality=HIGH)
    await join_files(tmp_path, 3)
    media.ffmpeg("-ss", "0.66", "-i", tmp_path / join.JOINED, *media.LOSSLESS, tmp_path / "end.mp4")
    assert media.numbers(tmp_path / "end.mp4") == list(range(20, 30))


async def test_joining_many_does_not_drift(tmp_path: Path) -> None:
    clip = media.numbered(tmp_path / "clip.mp4", seconds=1)
    first = await segment(tmp_path, 1, clip, 7, rate=7)
    for place in range(2, 201):
        (tmp_path / join.segment_file(place)).symlink_to(first)
    progress = await join_files(tmp_path, 200)
    assert media.probe(tmp_path / join.JOINED).times[-1] == Fraction(1399, 7)
    assert progress[-1] > 0.9


async def test_the_same_segments_give_the_same_bytes(tmp_path: Path) -> None:
    clip = media.clip(tmp_path / "clip.mp4", size=(64, 36))
    for place in (1, 2):
        await segment(tmp_path, place, clip, 20)
    await join_files(tmp_path, 2)
    first = (tmp_path / join.JOINED).read_bytes()
    await join_files(tmp_path, 2)
    assert (tmp_path / join.JOINED).read_bytes() == first


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": (128, 72)}, "segment 3 is 128x72, the first is 64x36"),
        ({"rate": 25}, "segment 3 has 25 frames a second, the first has 30 frames a second"),
        ({"quality": DRAFT}, "segment 3 is of the profile (Constrained )?Baseline, the first is of the profile High"),
    ],
)
async def test_segments_that_differ_are_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    clip = media.clip(tmp_path / "clip.mp4")
    for place, options in enumerate(({}, {}, change), 1):
        await segment(tmp_path, place, clip, 5, **options)
    with pytest.raises(FailedPrecondition, match=says) as refused:
        await join_files(tmp_path, 3)
    assert refused.value.reason == "SEGMENTS_MISMATCHED"


@pytest.mark.parametrize(
    ("encode", "says"),
    [
        (("-c:v", "mpeg4"), "segment 2 is mpeg4, the first is h264"),
        (("-c:v", "libx264", "-pix_fmt", "yuv444p"), "segment 2 has pixels of the format yuv444p"),
        (("-c:v", "libx264", "-pix_fmt", "yuv420p", "-profile:v", "high"), "time base of 1/90000 s, the first has"),
    ],
)
async def test_segments_with_other_encodings_are_refused(tmp_path: Path, encode: tuple[str, ...], says: str) -> None:
    clip = media.clip(tmp_path / "clip.mp4", size=(64, 36))
    await segment(tmp_path, 1, clip, 5)
    ticks = ("-video_track_timescale", "90000")
    media.clip(tmp_path / join.segment_file(2), size=(64, 36), seconds=0.2, encode=encode, container=ticks)
    with pytest.raises(FailedPrecondition, match=says) as refused:
        await join_files(tmp_path, 2)
    assert refused.value.reason == "SEGMENTS_MISMATCHED"


async def test_a_segment_whose_frames_are_uneven_is_refused(tmp_path: Path) -> None:
    choose = ("-vf", "select='not(eq(n,3))'", "-fps_mode", "vfr", *media.LOSSLESS)
    for place in (1, 2):
        media.clip(tmp_path / join.segment_file(place), size=(64, 36), seconds=0.5, encode=choose)
    with pytest.raises(FailedPrecondition, match="even steps") as refused:
        await join_files(tmp_path, 2)
    assert refused.value.reason == "SEGMENTS_MISMATCHED"


@pytest.mark.parametrize("content", [b"", b"this is no video" * 100])
async def test_a_file_that_is_no_video_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / join.segment_file(1)).write_bytes(content)
    with pytest.raises(FailedPrecondition, match="segment 1 cannot be opened") as refused:
        await join_files(tmp_path, 1)
    assert refused.value.reason == "RENDER_FAILED"


async def test_a_file_without_video_is_reported(tmp_path: Path) -> None:
    media.ffmpeg("-f", "lavfi", "-i", "sine=440", "-t", "1", tmp_path / join.segment_file(1))
    with pytest.raises(FailedPrecondition, match="segment 1 has no picture"):
        await join_files(tmp_path, 1)
