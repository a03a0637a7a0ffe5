"""Which backends are offered, whatever the machine has, and whether ffmpeg knows what they are told."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from services.encoder.backends import BACKENDS, Backend, command
from services.encoder.frames import Format
from services.encoder.trial import Backends
from services.media.encoding import Quality
from tests.encoder.streams import MACHINE, SOFTWARE, X264
from tests.mesh import ffmpeg_program

HARDWARE = [backend for backend in BACKENDS if backend.hardware]

# What a backend says when its device is not there, and not that it was told something wrong.
MISSING = ("Cannot load libcuda.so.1", "Cannot load nvcuda", "No capable devices found", "MFX session", "MFX initiali")


async def test_software_is_always_offered() -> None:
    backends = Backends(MACHINE)
    await backends.find()
    assert set(SOFTWARE.values()) <= set(await backends.working())


async def test_devices_that_are_not_there_cost_milliseconds() -> None:
    backends = Backends(replace(MACHINE, render_node=Path("/dev/dri/none")), HARDWARE)
    began = time.monotonic()
    await backends.find()
    missing = len(HARDWARE) - len(await backends.working())
    if missing < len(HARDWARE):
        pytest.skip("this machine has hardware; its trial takes what it takes")
    # A fiftieth of a second each where nothing else runs.
    assert time.monotonic() - began < 0.25 * missing


@pytest.mark.parametrize(
    "script",
    [
        "kill -SEGV $$",
        "exit 0",
        "cat > /dev/null",
        "cat > /dev/null; head -c 100000 /dev/zero",
        "exec 0<&-; sleep 600",
    ],
)
async def test_whatever_a_trial_does_the_service_lives(script: str, tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    backends = Backends(replace(MACHINE, ffmpeg=program), [X264], trial_seconds=0.5)
    await backends.find()
    assert await backends.working() == ()


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_ffmpeg_knows_every_option(backend: Backend) -> None:
    known = f"{said('-h', 'full')}{said('-h', f'encoder={backend.name}')}"
    for quality in Quality:
        told = [str(part) for part in command(backend, Format(320, 192, 25, quality, backend.codec), MACHINE)]
        coding = told[told.index("-c:v") + 2 : told.index("-f", told.index("-c:v"))]
        for name in coding[::2]:
            assert re.search(rf"^ *{name.partition(':')[0]}[ \[]", known, re.MULTILINE), name


@pytest.mark.parametrize("backend", HARDWARE, ids=lambda backend: backend.name)
def test_hardware_fails_only_because_it_is_not_there(backend: Backend) -> None:
    for quality in Quality:
        format = Format(320, 192, 25, quality, backend.codec)
        done = subprocess.run(
            command(backend, format, MACHINE), input=bytes(format.frame_bytes), capture_output=True, check=False
        )
        words = done.stderr.decode()
        assert done.returncode == 0 or any(reason in words for reason in (*MISSING, "No VA display")), words


def said(*arguments: str) -> str:
    """What ffmpeg says."""
    return subprocess.run([ffmpeg_program(), "-hide_banner", *arguments], capture_output=True, text=True).stdout
