"""Music: loops without a seam, not clipped, and made by `scripts/make_music`."""

from __future__ import annotations

import subprocess
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moneyprinter.errors import InvalidArgument
from services.audio import music
from tests.audio.sounds import RATE, Sound, level, lufs
from tests.mesh import ffmpeg_program

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_music"


def script() -> Any:
    loader = SourceFileLoader("make_music", str(SCRIPT))
    spec = spec_from_loader("make_music", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def loop_of(mood: str) -> Sound:
    """One round of a loop, as the mixer plays it."""
    played = music.stream(music.LOOPS[mood]).output("-", f="f32le", ar=RATE, ac=2)
    done = subprocess.run([ffmpeg_program(), "-loglevel", "error", *played.get_args()], capture_output=True, check=True)
    return np.frombuffer(done.stdout, "<f4").reshape(-1, 2).astype(np.float64)


@pytest.mark.parametrize("mood", music.LOOPS)
def test_a_loop_has_no_seam(mood: str) -> None:
    loop = loop_of(mood)
    assert len(loop) == music.LOOPS[mood].samples
    assert 12 <= len(loop) / RATE <= 24
    # A click would stand out from the curvature of the music around it.
    around = np.concatenate([loop[-RATE // 2 :], loop[: RATE // 2]])
    curvature = np.abs(np.diff(around, n=2, axis=0)).max(axis=1)
    assert curvature[RATE // 2 - 6 : RATE // 2 + 4].max() <= max(np.quantile(curvature, 0.995), 0.0005)


@pytest.mark.parametrize("mood", music.LOOPS)
def test_a_loop_is_neither_clipped_nor_empty_nor_mono(mood: str) -> None:
    loop = loop_of(mood)
    assert np.abs(loop).max() < 0.9
    assert lufs(loop) == pytest.approx(music.LOUDNESS_LUFS, abs=0.5)
    assert level(loop[:, 0] - loop[:, 1]) > level(loop) - 20
    seconds = [level(part) for part in np.array_split(loop, len(loop) // RATE)]
    assert min(seconds) > level(loop) - 8, "it has no hole"


def test_the_moods_differ_and_the_files_are_small() -> None:
    assert set(music.LOOPS) == {"upbeat", "calm", "dramatic", "happy", "dark"}
    assert {path.stem for path in music.FOLDER.glob("*.opus")} == set(music.LOOPS)
    assert sum(path.stat().st_size for path in music.FOLDER.iterdir()) < 3_000_000


def test_the_script_made_the_files() -> None:
    made = script()
    assert (made.RUN_IN, made.LOUDNESS_LUFS) == (music.RUN_IN_SAMPLES, music.LOUDNESS_LUFS)
    assert [piece.__name__ for piece in made.PIECES] == list(music.LOOPS)
    anew = made.happy()
    stored = loop_of("happy")
    assert anew.shape == stored.shape
    assert level(anew - stored) < level(stored) - 10
    assert np.corrcoef(anew.ravel(), stored.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("mood", ["jazz", "Upbeat", "upbeat ", "../happy", "README"])
def test_an_unknown_mood_is_refused_with_those_that_are_known(mood: str) -> None:
    with pytest.raises(InvalidArgument, match="upbeat, calm, dramatic, happy, dark") as refused:
        music.find(mood)
    assert refused.value.reason == "MUSIC_UNKNOWN"
