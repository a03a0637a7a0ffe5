"""The OpenAPI description generates types for TypeScript, and a client that uses them compiles in strict mode."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.contracts import FOLDER

ROOT = Path(__file__).resolve().parents[2]
CLIENT = Path(__file__).parent / "typescript"
PROGRAMS = ROOT / ".venv" / "typescript" / "node_modules" / ".bin"
"""The programs that `scripts/setup test` installs where npm is."""


def run(*command: str | Path, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("node") is None, reason="this machine has no Node")
@pytest.mark.skipif(
    not (PROGRAMS / "tsc").exists(), reason="scripts/setup test had no npm or no network for TypeScript"
)
def test_a_strict_client_compiles(tmp_path: Path) -> None:
    for name in ("client.ts", "tsconfig.json"):
        shutil.copy(CLIENT / name, tmp_path)
    run(PROGRAMS / "openapi-typescript", FOLDER / "openapi.json", "-o", "api.d.ts", folder=tmp_path)
    # It fails, too, when a line below `@ts-expect-error` has no error: a type that accepts everything.
    run(PROGRAMS / "tsc", folder=tmp_path)
