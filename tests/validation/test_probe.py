"""What a clip is found to be, and how every bad one is refused, in words that say what is wrong."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from moneyprinter.errors import InvalidArgument
from services.runtime import children
from services.validation.probe import Bounds, Facts, Part, probe
from tests import media
from tests.validation.footage import Footage
from tests.validation.site import Site

BOUNDS = Bounds(
    max_pixels=4096 * 2304, max_still_pixels=8192 * 6144, max_duration_seconds=60.0, memory_bytes=512 << 20, seconds=10
)
CHILD = Path(sys.modules[probe.__module__].__file__ or "").with_name("probe_child.py")


@pytest.mark.parametrize(
    ("name", "codec", "has_audio"),
    [
        ("good.mp4", "h264", True),
        ("faststart.mp4", "h264", True),
        ("fragmented.mp4", "h264", True),
        ("silent.mp4", "h264", False),
        ("good.mkv", "h264", True),
        ("good.ts", "h264", True),
        ("good.avi", "mpeg4", True),
        ("good.webm", "vp8", False),
        ("live.webm", "vp8", False),
    ],
)
async def test_good_clips_of_every_kind(footage: Footage, name: str, codec: str, has_audio: bool) -> None:
    facts = await probe(footage[name], Part(), BOUNDS)
    assert (facts.width, facts.height) == (320, 180)
    assert (facts.video_codec, facts.has_audio) == (codec, has_audio)
    assert facts.duration_seconds == pytest.approx(2.0, abs=0.05)
    assert float(facts.rate or 0) == pytest.approx(25, abs=0.5)


async def test_what_the_renderer_must_know_is_found(footage: Footage) -> None:
    facts = await probe(footage["turned.mov"], Part(), BOUNDS)
    assert (facts.picture["width"], facts.picture["height"]) == (320, 180), "as it is coded"
    assert not facts.picture["interlaced"] and not facts.picture["has_alpha"]


async def test_key_frames_are_told_where_there_is_an_index(tmp_path: Path) -> None:
    apart = ("-c:v", "libx264", "-g", "25", "-sc_threshold", "0", "-bf", "2")
    clip = media.clip(tmp_path / "clip.mp4", size=(64, 36), rate="25", seconds=4.5, encode=apart)
    facts = await probe(clip, Part(0.5, 3.5), BOUNDS)
    # Some frames later, for the index may tell when a frame is decoded; never before it can be shown.
    assert [round(key) for key in facts.key_seconds] == [1, 2, 3]
    assert all(0 <= key - round(key) <= 0.2 for key in facts.key_seconds)
    every = media.clip(tmp_path / "every.mp4", size=(64, 36), rate="25", seconds=2, encode=("-c:v", "mjpeg"))
    found = (await probe(every, Part(), BOUNDS)).key_seconds
    assert len(found) == 4 and all(later - key >= 0.5 for key, later in pairwise(found))


@pytest.mark.parametrize("name", ["good.avi", "good.mkv", "silent.mp4"])
async def test_a_title_in_letters_of_another_time_is_no_fault(footage: Footage, tmp_path: Path, name: str) -> None:
    """Before UTF-8, each country wrote its own: a video of then is a video."""
    titled = tmp_path / name
    media.ffmpeg("-i", footage[name], "-c", "copy", "-metadata", "title=XXXXXXX", titled)
    old = tmp_path / f"old-{name}"
    old.write_bytes(titled.read_bytes().replace(b"XXXXXXX", "Ménage!".encode("latin-1")))
    assert b"M\xe9nage" in old.read_bytes()
    facts = await probe(old, Part(), BOUNDS)
    assert (facts.width, facts.height) == (320, 180)


async def test_rotation_is_applied(footage: Footage) -> None:
    facts = await probe(footage["turned.mov"], Part(), BOUNDS)
    assert (facts.width, facts.height) == (180, 320)


async def test_a_variable_frame_rate_is_told_on_average(footage: Footage) -> None:
    facts = await probe(footage["variable.mp4"], Part(), BOUNDS)
    assert facts.rate is not None and facts.rate < 20
    assert facts.rate != Fraction(25)
    assert facts.duration_seconds == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("empty.mp4", "CLIP_NOT_PLAYABLE", "the file is empty"),
        ("text.mp4", "CLIP_NOT_PLAYABLE", "a text file"),
        ("page.mp4", "CLIP_NOT_PLAYABLE", "a web page"),
        ("noise.mp4", "CLIP_NOT_PLAYABLE", "not a video or picture of a known kind"),
        ("sound.mp4", "CLIP_NOT_PLAYABLE", "sound and no picture"),
        ("sound.mp3", "CLIP_NOT_PLAYABLE", r"sound \(MP3\)"),
        ("headless.mp4", "CLIP_NOT_PLAYABLE", "cut off"),
        ("cut.mp4", "CLIP_NOT_PLAYABLE", "cut off"),
        ("cut.mkv", "CLIP_NOT_PLAYABLE", "cut off"),
        ("cut.webm", "CLIP_NOT_PLAYABLE", "cut off"),
        ("cut.avi", "CLIP_NOT_PLAYABLE", "cut off"),
        ("cutfragmented.mp4", "CLIP_NOT_PLAYABLE", "cut off"),
        ("damaged.mp4", "CLIP_NOT_PLAYABLE", "damaged"),
        ("huge.mp4", "CLIP_TOO_LARGE", "8192x8192 pixels"),
        ("huge.gif", "CLIP_TOO_LARGE", "65535x65535 pixels"),
    ],
)
async def test_bad_clips_are_refused_with_a_reason(footage: Footage, name: str, reason: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as refused:
        await probe(footage[name], Part(), BOUNDS)
    assert refused.value.reason == reason


async def test_a_clip_that_is_too_long_is_refused(footage: Footage) -> None:
    with pytest.raises(InvalidArgument, match="2 s long; at most 1 s") as refused:
        await probe(footage["good.mp4"], Part(), replace(BOUNDS, max_duration_seconds=1.0))
    assert refused.value.reason == "CLIP_TOO_LARGE"


@pytest.mark.parametrize("part", [Part(0.5), Part(0.5, 1.0), Part(1.9, 2.0), Part(0.0, 2.04)])
async def test_a_part_within_the_clip_is_taken(footage: Footage, part: Part) -> None:
    assert (await probe(footage["good.mp4"], part, BOUNDS)).duration_seconds == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Part(2.0), r"starts at 2\.00 s, and the clip is only 2\.00 s"),
        (Part(70.0, 80.0), r"starts at 70\.00 s, and the clip is only 2\.00 s"),
        (Part(0.5, 2.1), r"ends at 2\.10 s, and the clip is only 2\.00 s"),
    ],
)
async def test_a_part_outside_the_clip_is_refused(footage: Footage, part: Part, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as refused:
        await probe(footage["good.mp4"], part, BOUNDS)
    assert refused.value.reason == "CLIP_RANGE_INVALID"


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("still.png", "png"),
        ("still.jpg", "mjpeg"),
        ("still.webp", "webp"),
        ("still.gif", "gif"),
        ("picture.mp4", "png"),
    ],
)
async def test_a_still_picture_has_a_size_and_no_length(footage: Footage, name: str, codec: str) -> None:
    facts = await probe(footage[name], Part(), BOUNDS)
    assert facts == Facts(None, 320, 180, None, codec, False, facts.picture)
    assert facts.still and facts.picture["still"]


@pytest.mark.parametrize("part", [Part(0.5), Part(0.0, 1.0)])
async def test_a_still_picture_has_no_parts(footage: Footage, part: Part) -> None:
    with pytest.raises(InvalidArgument, match="a picture has no start and end time") as refused:
        await probe(footage["still.png"], part, BOUNDS)
    assert refused.value.reason == "CLIP_RANGE_INVALID"


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp"])
async def test_an_animation_is_a_video(footage: Footage, name: str) -> None:
    facts = await probe(footage[name], Part(0.5, 1.0), BOUNDS)
    assert (facts.width, facts.height, facts.still) == (160, 90, False)
    assert facts.duration_seconds == pytest.approx(1.0, abs=0.01)
    assert facts.rate == 10
    with pytest.raises(InvalidArgument, match=r"starts at 2\.00 s, and the clip is only 1\.00 s") as refused:
        await probe(footage[name], Part(2.0), BOUNDS)
    assert refused.value.reason == "CLIP_RANGE_INVALID"


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg", "cut.webp", "cutmoving.webp"])
async def test_a_picture_that_is_cut_off_is_refused(footage: Footage, name: str) -> None:
    with pytest.raises(InvalidArgument, match="cut off") as refused:
        await probe(footage[name], Part(), BOUNDS)
    assert refused.value.reason == "CLIP_NOT_PLAYABLE"


async def test_a_still_picture_may_be_larger_than_a_video(footage: Footage) -> None:
    facts = await probe(footage["still.png"], Part(), replace(BOUNDS, max_pixels=1000))
    assert facts.width == 320
    with pytest.raises(InvalidArgument, match="320x180 pixels; at most 1000") as refused:
        await probe(footage["still.png"], Part(), replace(BOUNDS, max_still_pixels=1000))
    assert refused.value.reason == "CLIP_TOO_LARGE"


async def test_a_picture_made_to_fill_the_memory_is_refused(footage: Footage) -> None:
    assert footage["huge.png"].stat().st_size < 1 << 20
    with pytest.raises(InvalidArgument) as refused:
        await probe(footage["huge.png"], Part(), BOUNDS)
    assert refused.value.reason == "CLIP_TOO_LARGE"


async def test_pixels_that_are_not_square_are_counted_as_they_are_seen(footage: Footage) -> None:
    facts = await probe(footage["anamorphic.mp4"], Part(), BOUNDS)
    assert (facts.width, facts.height) == (320, 180)


async def test_reading_stays_within_its_memory_and_leaves_the_parent_as_it_was(footage: Footage) -> None:
    # Without the check of pixels, only the limit on memory is left; the picture alone takes 100 MB.
    path = footage["huge.mp4"]
    before = psutil.Process().memory_info().rss
    with pytest.raises(InvalidArgument) as refused:
        await probe(path, Part(), replace(BOUNDS, max_pixels=1 << 30, memory_bytes=200 << 20))
    assert refused.value.reason in {"CLIP_TOO_LARGE", "CLIP_NOT_PLAYABLE"}
    assert psutil.Process().memory_info().rss - before < 20 << 20


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{url}'\n",
        "ffconcat version 1.0\nfile '/etc/passwd'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n",
        "[playlist]\nFile1={url}\nNumberOfEntries=1\n",
    ],
)
async def test_a_playlist_in_disguise_reaches_nothing(tmp_path: Path, text: str) -> None:
    async with Site() as trap:
        path = tmp_path / "clip.mp4"
        path.write_text(text.format(url=trap.url("/secret.ts"), port=trap.port))
        with pytest.raises(InvalidArgument, match="a playlist") as refused:
            await probe(path, Part(), BOUNDS)
        assert refused.value.reason == "CLIP_NOT_PLAYABLE"
        # The process that reads clips refuses it by itself, too.
        wanted = {
            "max_pixels": 1 << 20,
            "max_still_pixels": 1 << 20,
            "max_duration_seconds": 60,
            "start_seconds": 0,
            "end_seconds": None,
        }
        answer = json.loads(await children.run((sys.executable, "-I", CHILD, path, json.dumps(wanted))))
        assert answer["reason"] == "CLIP_NOT_PLAYABLE"
        assert "root:" not in json.dumps(answer)
        assert trap.connections == 0


async def test_giving_up_leaves_no_process(footage: Footage) -> None:
    path = footage["good.mp4"]
    before = psutil.Process().children()
    reading = asyncio.create_task(probe(path, Part(), BOUNDS))
    while psutil.Process().children() == before:  # noqa: ASYNC110
        await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert psutil.Process().children() == before
