"""The probe finds the backends that work on any machine, and ffmpeg knows every option of every backend."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from services.encoder.backend_probe import AvailableBackends
from services.encoder.backends import BACKENDS, Backend, ffmpeg_command
from services.encoder.frames import Format
from services.media.encoding import Quality
from tests.encoder.streams import MACHINE, SOFTWARE, X264
from tests.mesh import ffmpeg_program

HARDWARE = [backend for backend in BACKENDS if backend.hardware]

# What a backend prints when its device is missing; with a wrong option it prints something else.
MISSING = ("Cannot load libcuda.so.1", "Cannot load nvcuda", "No capable devices found", "MFX session", "MFX initiali")


async def test_software_backends_are_always_available() -> None:
    backends = AvailableBackends(MACHINE)
    await backends.probe()
    assert set(SOFTWARE.values()) <= set(await backends.list_all())


async def test_missing_devices_cost_milliseconds() -> None:
    backends = AvailableBackends(replace(MACHINE, render_node=Path("/dev/dri/none")), HARDWARE)
    began = time.monotonic()
    await backends.probe()
    missing = len(HARDWARE) - len(await backends.list_all())
    if missing < len(HARDWARE):
        pytest.skip("this machine has hardware, whose probe takes longer")
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
async def test_the_service_survives_a_broken_probe(script: str, tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    backends = AvailableBackends(replace(MACHINE, ffmpeg=program), [X264], probe_seconds=0.5)
    await backends.probe()
    assert await backends.list_all() == ()


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_ffmpeg_knows_every_option(backend: Backend) -> None:
    known = f"{ffmpeg_help('-h', 'full')}{ffmpeg_help('-h', f'encoder={backend.name}')}"
    for quality in Quality:
        command = [str(part) for part in ffmpeg_command(backend, Format(320, 192, 25, quality, backend.codec), MACHINE)]
        coding = command[command.index("-c:v") + 2 : command.index("-f", command.index("-c:v"))]
        for name in coding[::2]:
            assert re.search(rf"^ *{name.partition(':')[0]}[ \[]", known, re.MULTILINE), name


@pytest.mark.parametrize("backend", HARDWARE, ids=lambda backend: backend.name)
def test_hardware_fails_only_because_it_is_missing(backend: Backend) -> None:
    for quality in Quality:
        format = Format(320, 192, 25, quality, backend.codec)
        done = subprocess.run(
            ffmpeg_command(backend, format, MACHINE), input=bytes(format.frame_bytes), capture_output=True, check=False
        )
        words = done.stderr.decode()
        assert done.returncode == 0 or any(reason in words for reason in (*MISSING, "No VA display")), words


def ffmpeg_help(*arguments: str) -> str:
    """Returns what ffmpeg prints."""
    return subprocess.run([ffmpeg_program(), "-hide_banner", *arguments], capture_output=True, text=True).stdout
