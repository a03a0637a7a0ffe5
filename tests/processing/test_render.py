"""Segments have the right frames at the right times, in the right place and colours, with captions."""

from __future__ import annotations

import hashlib
import math
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from numpy.typing import NDArray

from moneyprinter.errors import FailedPrecondition
from services.media.encoding import Quality
from services.processing import command, graph
from services.processing.render import FONTCONFIG_FILE, Tool, render
from services.processing.source import Source
from services.processing.spec import Canvas, Clip, Fit, Shot, Spec
from services.runtime import children
from tests import media
from tests.media.drawing import FONTS, captions, render_clips
from tests.mesh import ffmpeg_program
from tests.progress import after_first_report
from tests.sources import probe_source

STANDARD = Quality.STANDARD
WIDE, TALL = (320, 180), (180, 320)


SOURCE = graph.source_name(0)


def spec(
    size: tuple[int, int] = WIDE,
    *,
    start: float = 0.0,
    frames: int = 3,
    rate: int = 30,
    fit: Fit = Fit.COVER,
    quality: Quality = STANDARD,
    captions_ass: str = "",
) -> Spec:
    """Returns the spec of one shot."""
    shot = Shot(Clip(0, timedelta(seconds=start)), fit)
    return Spec((shot,), frames, Canvas(*size, rate), quality, captions_ass=captions_ass)


async def render_segment(tool: Tool, clip: Path, wanted: Spec, name: str = "work") -> Path:
    """Render a clip in a new folder."""
    return await render_clips(tool, clip.parent / name, [clip], wanted)


def expected_numbers(rate: Fraction, start: Fraction, frames: int, canvas_rate: int = 30) -> list[int]:
    """Returns the source frames nearest to each frame of the canvas, or the last before it."""
    first = {}
    for number in range(200):
        first[math.floor((number / rate - start) * canvas_rate + Fraction(1, 2))] = number
    return [first[max(place for place in first if place <= frame)] for frame in range(frames)]


@pytest.mark.parametrize("rate", ["30", "25", "24000/1001", "60", "10"])
@pytest.mark.parametrize("start", [Fraction(0), Fraction(1, 3)])
async def test_every_frame_is_shown_at_its_time(tool: Tool, tmp_path: Path, rate: str, start: Fraction) -> None:
    clip = media.numbered(tmp_path / "clip.mp4", rate=rate, seconds=1.1)
    made = await render_segment(tool, clip, spec((64, 36), start=float(start), frames=20))
    video = media.probe(made)
    assert video.times == tuple(Fraction(number, 30) for number in range(20))
    assert (video.frames, video.rate, video.has_audio) == (20, Fraction(30), False)
    assert media.numbers(made) == expected_numbers(Fraction(rate), start, 20)


async def test_a_source_of_variable_rate_becomes_constant(tool: Tool, tmp_path: Path) -> None:
    kept = [n for n in range(45) if n % 3 == 0 or n % 7 == 0]
    choose = ("-vf", "select='not(mod(n,3))+not(mod(n,7))'", "-fps_mode", "vfr", *media.LOSSLESS)
    clip = media.numbered(tmp_path / "clip.mp4", seconds=1.5, encode=choose)
    made = await render_segment(tool, clip, spec((64, 36), start=0.2, frames=30))
    assert media.probe(made).times == tuple(Fraction(number, 30) for number in range(30))
    assert media.numbers(made) == [max(n for n in kept if n <= frame + 6) for frame in range(30)]


async def test_seeking_finds_the_frame_between_key_frames_of_a_matroska_with_sound(tool: Tool, tmp_path: Path) -> None:
    encode = ("-c:v", "libx264", "-g", "25", "-bf", "3", "-qp", "10", "-c:a", "libopus")
    clip = media.numbered(tmp_path / "clip.mkv", seconds=2, sound=True, encode=encode)
    assert media.numbers(await render_segment(tool, clip, spec((64, 36), start=1.2, frames=5))) == [36, 37, 38, 39, 40]


async def test_the_last_frame_is_held_when_the_source_ends_a_little_early(tool: Tool, tmp_path: Path) -> None:
    clip = media.numbered(tmp_path / "clip.mp4", seconds=1)
    made = await render_segment(tool, clip, spec((64, 36), start=0.9, frames=10))
    assert media.numbers(made) == [27, 28, 29, 29, 29, 29, 29, 29, 29, 29]


@pytest.mark.parametrize(("start", "frames"), [(0.5, 200), (1.5, 3)])
async def test_a_source_that_is_much_too_short_is_reported(
    tool: Tool, tmp_path: Path, start: float, frames: int
) -> None:
    clip = media.numbered(tmp_path / "clip.mp4", seconds=1)
    with pytest.raises(FailedPrecondition, match="the clip ends at") as refused:
        await render_segment(tool, clip, spec((64, 36), start=start, frames=frames))
    assert refused.value.reason == "RENDER_FAILED"


QUARTERS = {"top left": "red", "top right": "lime", "bottom left": "blue", "bottom right": "white"}


def quarters(pixels: media.Picture, left: int = 0, top: int = 0) -> dict[str, media.Picture]:
    """Returns a pixel of each quarter of a picture, without margins of `left` and `top`."""
    height, width, _ = pixels.shape
    x, y = left + (width - 2 * left) // 8, top + (height - 2 * top) // 8
    return {
        "top left": pixels[y, x],
        "top right": pixels[y, width - 1 - x],
        "bottom left": pixels[height - 1 - y, x],
        "bottom right": pixels[height - 1 - y, width - 1 - x],
    }


async def render_frame(tool: Tool, clip: Path, wanted: Spec) -> media.Picture:
    """Render a segment, check its size and format, and return its second frame."""
    made = await render_segment(tool, clip, wanted)
    video = media.probe(made)
    assert (video.width, video.height) == (wanted.canvas.width, wanted.canvas.height)
    assert (video.pixels, video.colours, video.square) == ("yuv420p", (1, 1, 1, 1), True)
    return list(media.pictures(made))[1]


@pytest.mark.parametrize("size", [WIDE, TALL, (180, 180), (64, 320)])
@pytest.mark.parametrize("source", [WIDE, (317, 179), (150, 201)])
async def test_covering_fills_the_canvas(
    tool: Tool, tmp_path: Path, size: tuple[int, int], source: tuple[int, int]
) -> None:
    encode = ("-c:v", "ffv1", "-pix_fmt", "yuv444p")
    clip = media.corners(tmp_path / "clip.mkv", size=source, seconds=0.2, encode=encode)
    pixels = await render_frame(tool, clip, spec(size))
    for place, pixel in quarters(pixels).items():
        assert media.is_near(pixel, QUARTERS[place]), (place, pixel)
    edges = np.concatenate([pixels[1], pixels[-2], pixels[:, 1], pixels[:, -2]])
    assert edges.max(axis=1).min() > 50, "no edge is black"


@pytest.mark.parametrize(
    ("size", "left", "top"), [(WIDE, 0, 0), (TALL, 0, 109), ((320, 320), 0, 70), ((320, 100), 71, 0)]
)
async def test_containing_shows_the_whole_source_centred_on_black(
    tool: Tool, tmp_path: Path, size: tuple[int, int], left: int, top: int
) -> None:
    clip = media.corners(tmp_path / "clip.mp4", seconds=0.2)
    pixels = await render_frame(tool, clip, spec(size, fit=Fit.CONTAIN))
    for place, pixel in quarters(pixels, left, top).items():
        assert media.is_near(pixel, QUARTERS[place]), (place, pixel)
    if left or top:
        bars = np.concatenate([pixels[: top - 2], pixels[2 - top :]]) if top else pixels[:, : left - 2]
        assert bars.max() < 40, "the bars are black"
    inside = pixels[top + 3 : size[1] - top - 3, left + 3 : size[0] - left - 3]
    assert inside.max(axis=2).min() > 50, "the picture reaches the bars"


@pytest.mark.parametrize("fit", list(Fit))
async def test_a_rotated_source_stands_upright(tool: Tool, tmp_path: Path, fit: Fit) -> None:
    lying = media.corners(tmp_path / "lying.mp4", seconds=0.2)
    media.ffmpeg("-display_rotation:v:0", "90", "-i", lying, "-c", "copy", tmp_path / "clip.mp4")
    found = quarters(await render_frame(tool, tmp_path / "clip.mp4", spec(TALL, fit=fit)))
    turned = {"top left": "lime", "top right": "white", "bottom left": "red", "bottom right": "blue"}
    for place, pixel in found.items():
        assert media.is_near(pixel, turned[place]), (place, pixel)


@pytest.mark.parametrize("fit", list(Fit))
async def test_non_square_10_bit_pixels_become_square_8_bit_pixels(tool: Tool, tmp_path: Path, fit: Fit) -> None:
    # 160x180 with pixels twice as wide as high is 320x180.
    encode = ("-vf", "setsar=2", "-c:v", "libx264", "-qp", "1", "-pix_fmt", "yuv420p10le")
    clip = media.corners(tmp_path / "clip.mp4", size=(160, 180), seconds=0.2, encode=encode)
    pixels = await render_frame(tool, clip, spec(WIDE, fit=fit))
    for place, pixel in quarters(pixels).items():
        assert media.is_near(pixel, QUARTERS[place]), (place, pixel)
    assert pixels[:, 2].max(axis=1).min() > 100, "nothing is padded"


@pytest.mark.parametrize(
    ("size", "matrix", "declared"),
    [((1280, 72), "bt709", False), ((320, 180), "bt601", False), ((320, 180), "bt601", True), (WIDE, "bt709", True)],
)
async def test_colours_are_those_that_a_player_shows(
    tool: Tool, tmp_path: Path, size: tuple[int, int], matrix: str, declared: bool
) -> None:
    tag = ("-colorspace", {"bt601": "smpte170m", "bt709": "bt709"}[matrix]) if declared else ("-colorspace", "unknown")
    forget = "" if declared else ",setparams=colorspace=unknown"
    encode = ("-vf", f"scale=out_color_matrix={matrix},format=yuv420p{forget}", *media.LOSSLESS, *tag)
    clip = media.clip(tmp_path / "clip.mp4", "color=lime:s={w}x{h}:r={rate}", size=size, seconds=0.2, encode=encode)
    pixels = await render_frame(tool, clip, spec(WIDE))
    assert media.is_near(pixels[90, 160], "lime", tolerance=6), pixels[90, 160]


def yellow(pixels: media.Picture) -> NDArray[np.bool_]:
    """Returns the mask of the letters of captions."""
    found: NDArray[np.bool_] = (pixels[..., 0] > 180) & (pixels[..., 1] > 180) & (pixels[..., 2] < 100)
    return found


async def test_captions_are_on_screen_at_their_times_only(tool: Tool, tmp_path: Path) -> None:
    clip = media.clip(tmp_path / "clip.mp4", "color=gray:s={w}x{h}:r={rate}", seconds=2)
    made = await render_segment(tool, clip, spec(start=0.5, frames=45, captions_ass=captions()))
    for number, pixels in enumerate(media.pictures(made)):
        letters = yellow(pixels)
        assert (letters.sum() > 500) == (15 <= number < 30), number
        if letters.any():
            rows, columns = np.nonzero(letters)
            assert rows.min() > 120 and rows.max() < 170, "in the lower third"
            assert abs(columns.min() - (319 - columns.max())) <= 4, "in the middle"
            assert columns.max() - columns.min() > 90, "as wide as the text"


async def test_captions_are_drawn_over_a_held_frame(tool: Tool, tmp_path: Path) -> None:
    clip = media.clip(tmp_path / "clip.mp4", "color=gray:s={w}x{h}:r={rate}", seconds=0.5)
    made = await render_segment(tool, clip, spec(frames=30, captions_ass=captions()))
    assert [bool(yellow(pixels).any()) for pixels in media.pictures(made)] == [False] * 15 + [True] * 15


async def test_the_font_is_found_by_its_name_without_any_system_font(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "fonts.conf").write_text("<fontconfig></fontconfig>")
    (tmp_path / "fonts").symlink_to(FONTS)
    (tmp_path / "captions.ass").write_text(captions())
    arguments = ("-f", "lavfi", "-i", "color=gray:s=320x180:r=30:d=1", "-vf", "ass=captions.ass:fontsdir=fonts")
    command = (ffmpeg_program(), "-nostdin", *arguments, "-f", "null", "-")
    environment = {"FONTCONFIG_FILE": str(tmp_path / "fonts.conf")}
    async with children.start(command, folder=tmp_path, environment=environment) as child:
        await child.process.wait()
        assert child.listener is not None
        await child.listener
    assert "(Manrope ExtraBold, 400, 0) -> Manrope-ExtraBold" in "\n".join(child.stderr_tail)


async def test_text_of_users_reaches_no_filter_and_no_other_file(tool: Tool, tmp_path: Path) -> None:
    clip = media.clip(tmp_path / "clip.mp4", "color=gray:s={w}x{h}:r={rate}", seconds=1)
    text = "a:b'c\\,d;[e]%{pts} /etc/passwd ../../x"
    made = await render_segment(tool, clip, spec(frames=30, captions_ass=captions(text)))
    assert yellow(list(media.pictures(made))[20]).any()
    names = {path.name for path in made.parent.iterdir()}
    assert names == {SOURCE, graph.CAPTIONS, graph.FONTS, FONTCONFIG_FILE, command.SEGMENT}


@pytest.mark.parametrize("quality", [Quality.DRAFT, STANDARD, Quality.HIGH])
async def test_the_same_request_gives_the_same_bytes(tool: Tool, tmp_path: Path, quality: Quality) -> None:
    clip = media.clip(tmp_path / "clip.mp4", size=(160, 90))
    wanted = spec((160, 90), start=0.2, frames=20, quality=quality, captions_ass=captions(start="0:00:00.00"))
    made = [await render_segment(tool, clip, wanted, name) for name in ("first", "second")]
    first, second = (hashlib.sha256(path.read_bytes()).hexdigest() for path in made)
    assert first == second


async def test_groups_of_pictures_are_closed_and_two_seconds_long(tool: Tool, tmp_path: Path) -> None:
    # Half-way the whole picture changes, which must not add a key frame.
    clip = media.clip(tmp_path / "clip.mp4", "testsrc2=s={w}x{h}:r={rate},negate=enable='gt(t,1)'", seconds=2.2)
    made = await render_segment(tool, clip, spec((64, 36), frames=65))
    assert media.probe(made).key_frames == (0, 60)


@pytest.mark.parametrize("count", [1, 2])
async def test_a_segment_may_be_as_short_as_a_frame(tool: Tool, tmp_path: Path, count: int) -> None:
    clip = media.numbered(tmp_path / "clip.mp4", seconds=1)
    made = await render_segment(tool, clip, spec((64, 36), start=0.5, frames=count))
    assert media.numbers(made) == list(range(15, 15 + count))


async def test_progress_rises_from_0_to_1(tool: Tool, tmp_path: Path) -> None:
    clip = media.clip(tmp_path / "clip.mp4")
    (tmp_path / SOURCE).symlink_to(clip)
    source = await probe_source(tmp_path / SOURCE)
    fractions: list[float] = []
    made = await render(spec((960, 540), frames=30), [source], tmp_path, tool, fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[0] >= 0 and 0.9 < fractions[-1] <= 1
    assert made.frame_count == 30


def _text(path: Path) -> None:
    path.write_text("This is no video.\n" * 100)


def _cut(path: Path) -> None:
    media.clip(path)
    path.write_bytes(path.read_bytes()[:-2000])


def _sound(path: Path) -> None:
    media.sound(path)


def _playlist(path: Path) -> None:
    media.clip(path.with_name("other.mp4"))
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")


def _large(path: Path) -> None:
    media.clip(path, "color=red:s={w}x{h}:r={rate}", size=(4096, 2320), seconds=0.1)


@pytest.mark.parametrize(
    ("make", "name", "says"),
    [
        (_text, "clip.mp4", "its input is damaged"),
        (_cut, "clip.mp4", "its input is damaged"),
        (_sound, "clip.avi", "no such picture or sound"),
        (_playlist, "clip.mp4", "of a kind that is not taken"),
        (_large, "clip.mp4", "its input is damaged|incident"),
        (Path.touch, "clip.mp4", "its input is damaged"),
    ],
)
async def test_a_source_that_cannot_be_rendered_is_a_typed_error(
    tool: Tool, tmp_path: Path, make: Any, name: str, says: str
) -> None:
    make(tmp_path / name)
    (tmp_path / SOURCE).symlink_to(tmp_path / name)
    # The probe of another file, as if the object had been replaced.
    with pytest.raises(FailedPrecondition, match=says) as refused:
        await render(spec(), [Source(320, 180, has_matrix=True)], tmp_path, tool)
    assert refused.value.reason == "RENDER_FAILED"
    assert str(tmp_path) not in refused.value.message
    assert len(refused.value.message) < 400


async def test_ffmpeg_output_is_only_in_the_log(tool: Tool, tmp_path: Path) -> None:
    clip = media.clip(tmp_path / "clip.mp4")
    with (
        structlog.testing.capture_logs() as logged,
        pytest.raises(FailedPrecondition, match=r"cannot be rendered: ffmpeg failed \(incident") as refused,
    ):
        await render_segment(tool, clip, spec((321, 180)))
    assert refused.value.reason == "RENDER_FAILED"
    assert any("not divisible by 2" in str(event) for event in logged)
    assert str(tmp_path) not in refused.value.message
    assert len(refused.value.message) < 400


async def test_a_cancelled_render_ends_ffmpeg(tool: Tool, tmp_path: Path) -> None:
    clip = media.clip(tmp_path / "clip.mp4")
    (tmp_path / SOURCE).symlink_to(clip)
    source = await probe_source(tmp_path / SOURCE)
    async with after_first_report(
        lambda on_progress: render(spec((1280, 720), frames=60), [source], tmp_path, tool, on_progress)
    ) as rendering:
        assert not rendering.done()
    assert rendering.cancelled()
