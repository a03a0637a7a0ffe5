"""The focus is on a face, on motion or on detail, and a crop keeps it visible."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.validation.probe import TimeRange, probe
from tests import media
from tests.media.drawing import still
from tests.sources import LIMITS

# A face before a wall: skin, hair, eyes and a mouth; `{x}` is its middle, of 640.
FACE = (
    "color=0x7a8794:s=640x360,format=gbrp,"
    "geq=r='if(lt(hypot((X-{x})/46\\,(Y-130)/60)\\,1)\\,205\\,if(lt(hypot((X-{x})/100\\,(Y-330)/120)\\,1)\\,40\\,122))':"
    "g='if(lt(hypot((X-{x})/46\\,(Y-130)/60)\\,1)\\,150\\,if(lt(hypot((X-{x})/100\\,(Y-330)/120)\\,1)\\,60\\,135))':"
    "b='if(lt(hypot((X-{x})/46\\,(Y-130)/60)\\,1)\\,125\\,if(lt(hypot((X-{x})/100\\,(Y-330)/120)\\,1)\\,90\\,148))',"
    "drawbox=x={x}-24:y=110:w=12:h=8:c=black:t=fill,drawbox=x={x}+12:y=110:w=12:h=8:c=black:t=fill,"
    "drawbox=x={x}-14:y=155:w=28:h=6:c=0x803030:t=fill"
)


async def focus(path: Path) -> tuple[float, float]:
    picture = (await probe(path, TimeRange(), LIMITS)).source
    return picture["focus_x"], picture["focus_y"]


@pytest.mark.parametrize("x", [120, 320, 520])
async def test_a_face_is_found(tmp_path: Path, x: int) -> None:
    found_x, found_y = await focus(still(tmp_path / "face.png", FACE.format(x=x)))
    assert found_x == pytest.approx(x / 640, abs=0.06)
    assert 0.2 < found_y < 0.6


@pytest.mark.parametrize("x", [80, 480])
async def test_motion_is_found(tmp_path: Path, x: int) -> None:
    ground, box = "color=0x606878:s=640x360:r={rate}[a]", "color=0xe0e0f0:s=40x60:r={rate}[b]"
    chain = f"{ground};{box};[a][b]overlay=x={x}+20*mod(n\\,4):y=150"
    found_x, _ = await focus(media.clip(tmp_path / "clip.mp4", chain, seconds=2.0))
    assert found_x == pytest.approx((x + 50) / 640, abs=0.12)


async def test_detail_is_found(tmp_path: Path) -> None:
    chain = "color=0x304050:s=640x360[a];testsrc2=s=120x120[b];[a][b]overlay=x=480:y=120"
    found_x, found_y = await focus(still(tmp_path / "detail.png", chain))
    assert found_x == pytest.approx(540 / 640, abs=0.1) and found_y == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("chain", ["color=0x808080:s=640x360", "testsrc2=s=640x360", "color=0xcc9977:s=640x360"])
async def test_the_focus_is_the_middle_when_nothing_stands_out(tmp_path: Path, chain: str) -> None:
    found_x, found_y = await focus(still(tmp_path / "plain.png", chain))
    assert abs(found_x - 0.5) < 0.2 and abs(found_y - 0.5) < 0.2


async def test_the_focus_refers_to_the_upright_picture(tmp_path: Path) -> None:
    lying = media.clip(tmp_path / "lying.mp4", FACE.format(x=120) + ",loop=-1:1", rate="25", seconds=1.0)
    turned = tmp_path / "turned.mp4"
    media.ffmpeg("-display_rotation:v:0", "270", "-i", lying, "-c", "copy", turned)
    x, y = await focus(turned)
    # Turned to the right, what was on the left is above.
    assert y == pytest.approx(120 / 640, abs=0.08) and 0.4 < x < 0.8
