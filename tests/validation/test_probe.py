"""Probe: the facts of good clips, and the reason and message of each refusal."""

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
from services.validation.probe import ClipFacts, ProbeLimits, TimeRange, probe
from tests import media
from tests.validation.footage import Footage
from tests.validation.site import Site

LIMITS = ProbeLimits(
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
async def test_good_clips_of_every_format_are_accepted(
    footage: Footage, name: str, codec: str, has_audio: bool
) -> None:
    facts = await probe(footage[name], TimeRange(), LIMITS)
    assert (facts.width, facts.height) == (320, 180)
    assert (facts.video_codec, facts.has_audio) == (codec, has_audio)
    assert facts.duration_seconds == pytest.approx(2.0, abs=0.05)
    assert float(facts.rate or 0) == pytest.approx(25, abs=0.5)


async def test_coded_size_alpha_and_interlacing_are_reported(footage: Footage) -> None:
    facts = await probe(footage["turned.mov"], TimeRange(), LIMITS)
    assert (facts.source["width"], facts.source["height"]) == (320, 180), "as it is coded"
    assert not facts.source["interlaced"] and not facts.source["has_alpha"]


async def test_key_frames_are_read_from_the_index(tmp_path: Path) -> None:
    apart = ("-c:v", "libx264", "-g", "25", "-sc_threshold", "0", "-bf", "2")
    clip = media.clip(tmp_path / "clip.mp4", size=(64, 36), rate="25", seconds=4.5, encode=apart)
    facts = await probe(clip, TimeRange(0.5, 3.5), LIMITS)
    # A few frames later, because the index may have the decoding time of a frame; never before its display.
    assert [round(key) for key in facts.key_seconds] == [1, 2, 3]
    assert all(0 <= key - round(key) <= 0.2 for key in facts.key_seconds)
    every = media.clip(tmp_path / "every.mp4", size=(64, 36), rate="25", seconds=2, encode=("-c:v", "mjpeg"))
    found = (await probe(every, TimeRange(), LIMITS)).key_seconds
    assert len(found) == 4 and all(later - key >= 0.5 for key, later in pairwise(found))


@pytest.mark.parametrize("name", ["good.avi", "good.mkv", "silent.mp4"])
async def test_metadata_in_a_legacy_encoding_is_ignored(footage: Footage, tmp_path: Path, name: str) -> None:
    """A title in Latin-1, from before UTF-8, is no reason to refuse a video."""
    titled = tmp_path / name
    media.ffmpeg("-i", footage[name], "-c", "copy", "-metadata", "title=XXXXXXX", titled)
    old = tmp_path / f"old-{name}"
    old.write_bytes(titled.read_bytes().replace(b"XXXXXXX", "Ménage!".encode("latin-1")))
    assert b"M\xe9nage" in old.read_bytes()
    facts = await probe(old, TimeRange(), LIMITS)
    assert (facts.width, facts.height) == (320, 180)


async def test_rotation_is_applied(footage: Footage) -> None:
    facts = await probe(footage["turned.mov"], TimeRange(), LIMITS)
    assert (facts.width, facts.height) == (180, 320)


async def test_a_variable_frame_rate_is_averaged(footage: Footage) -> None:
    facts = await probe(footage["variable.mp4"], TimeRange(), LIMITS)
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
        await probe(footage[name], TimeRange(), LIMITS)
    assert refused.value.reason == reason


async def test_a_clip_over_the_duration_limit_is_refused(footage: Footage) -> None:
    with pytest.raises(InvalidArgument, match="2 s long; at most 1 s") as refused:
        await probe(footage["good.mp4"], TimeRange(), replace(LIMITS, max_duration_seconds=1.0))
    assert refused.value.reason == "CLIP_TOO_LARGE"


@pytest.mark.parametrize("part", [TimeRange(0.5), TimeRange(0.5, 1.0), TimeRange(1.9, 2.0), TimeRange(0.0, 2.04)])
async def test_a_range_within_the_clip_is_accepted(footage: Footage, part: TimeRange) -> None:
    assert (await probe(footage["good.mp4"], part, LIMITS)).duration_seconds == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (TimeRange(2.0), r"starts at 2\.00 s, and the clip is only 2\.00 s"),
        (TimeRange(70.0, 80.0), r"starts at 70\.00 s, and the clip is only 2\.00 s"),
        (TimeRange(0.5, 2.1), r"ends at 2\.10 s, and the clip is only 2\.00 s"),
    ],
)
async def test_a_range_outside_the_clip_is_refused(footage: Footage, part: TimeRange, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as refused:
        await probe(footage["good.mp4"], part, LIMITS)
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
async def test_a_still_picture_has_a_size_and_no_duration(footage: Footage, name: str, codec: str) -> None:
    facts = await probe(footage[name], TimeRange(), LIMITS)
    assert facts == ClipFacts(None, 320, 180, None, codec, False, facts.source)
    assert facts.still and facts.source["still"]


@pytest.mark.parametrize("part", [TimeRange(0.5), TimeRange(0.0, 1.0)])
async def test_a_range_of_a_still_picture_is_refused(footage: Footage, part: TimeRange) -> None:
    with pytest.raises(InvalidArgument, match="a picture has no start and end time") as refused:
        await probe(footage["still.png"], part, LIMITS)
    assert refused.value.reason == "CLIP_RANGE_INVALID"


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp"])
async def test_an_animation_is_a_video(footage: Footage, name: str) -> None:
    facts = await probe(footage[name], TimeRange(0.5, 1.0), LIMITS)
    assert (facts.width, facts.height, facts.still) == (160, 90, False)
    assert facts.duration_seconds == pytest.approx(1.0, abs=0.01)
    assert facts.rate == 10
    with pytest.raises(InvalidArgument, match=r"starts at 2\.00 s, and the clip is only 1\.00 s") as refused:
        await probe(footage[name], TimeRange(2.0), LIMITS)
    assert refused.value.reason == "CLIP_RANGE_INVALID"


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg", "cut.webp", "cutmoving.webp"])
async def test_a_truncated_picture_is_refused(footage: Footage, name: str) -> None:
    with pytest.raises(InvalidArgument, match="cut off") as refused:
        await probe(footage[name], TimeRange(), LIMITS)
    assert refused.value.reason == "CLIP_NOT_PLAYABLE"


async def test_a_still_picture_may_be_larger_than_a_video(footage: Footage) -> None:
    facts = await probe(footage["still.png"], TimeRange(), replace(LIMITS, max_pixels=1000))
    assert facts.width == 320
    with pytest.raises(InvalidArgument, match="320x180 pixels; at most 1000") as refused:
        await probe(footage["still.png"], TimeRange(), replace(LIMITS, max_still_pixels=1000))
    assert refused.value.reason == "CLIP_TOO_LARGE"


async def test_a_decompression_bomb_is_refused(footage: Footage) -> None:
    assert footage["huge.png"].stat().st_size < 1 << 20
    with pytest.raises(InvalidArgument) as refused:
        await probe(footage["huge.png"], TimeRange(), LIMITS)
    assert refused.value.reason == "CLIP_TOO_LARGE"


async def test_anamorphic_sizes_are_those_of_square_pixels(footage: Footage) -> None:
    facts = await probe(footage["anamorphic.mp4"], TimeRange(), LIMITS)
    assert (facts.width, facts.height) == (320, 180)


async def test_the_probe_child_stays_within_its_memory_limit(footage: Footage) -> None:
    # Without a pixel limit, only the memory limit remains; the picture alone takes 100 MB.
    path = footage["huge.mp4"]
    before = psutil.Process().memory_info().rss
    with pytest.raises(InvalidArgument) as refused:
        await probe(path, TimeRange(), replace(LIMITS, max_pixels=1 << 30, memory_bytes=200 << 20))
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
async def test_a_disguised_playlist_opens_no_connection(tmp_path: Path, text: str) -> None:
    async with Site() as trap:
        path = tmp_path / "clip.mp4"
        path.write_text(text.format(url=trap.url("/secret.ts"), port=trap.port))
        with pytest.raises(InvalidArgument, match="a playlist") as refused:
            await probe(path, TimeRange(), LIMITS)
        assert refused.value.reason == "CLIP_NOT_PLAYABLE"
        # The probe child also refuses it on its own.
        request = {
            "max_pixels": 1 << 20,
            "max_still_pixels": 1 << 20,
            "max_duration_seconds": 60,
            "start_seconds": 0,
            "end_seconds": None,
        }
        answer = json.loads(await children.run((sys.executable, "-I", CHILD, path, json.dumps(request))))
        assert answer["reason"] == "CLIP_NOT_PLAYABLE"
        assert "root:" not in json.dumps(answer)
        assert trap.connections == 0


async def test_a_cancelled_probe_leaves_no_process(footage: Footage) -> None:
    path = footage["good.mp4"]
    before = psutil.Process().children()
    reading = asyncio.create_task(probe(path, TimeRange(), LIMITS))
    while psutil.Process().children() == before:  # noqa: ASYNC110
        await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert psutil.Process().children() == before
