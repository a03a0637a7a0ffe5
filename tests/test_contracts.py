"""The contracts: their stubs are those that the generator makes now, and buf finds nothing to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"ended with {done.returncode}")


def test_the_stubs_are_not_stale() -> None:
    assert run(sys.executable, "scripts/generate", "--check") == ""


def test_buf_finds_nothing() -> None:
    buf = Path(sys.executable).parent / "buf"
    assert run(str(buf), "lint", "gateway/api.binpb") == ""
