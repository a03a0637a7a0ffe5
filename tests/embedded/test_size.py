"""The packages of a laptop stay within a budget of disk space, and no large file is installed twice."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("laptop", "voice", "demo")
BUDGET_BYTES = 810 << 20
"""Measured: 789 MB, of which ffmpeg has 165, the neural voice 128, PyAV 101 and Envoy 101."""
LARGE_BYTES = 2 << 20


def list_files() -> Iterator[Path]:
    """List the files of the laptop's packages that `scripts/setup` leaves."""
    locks = "".join((ROOT / "requirements" / f"{lock}.lock").read_text() for lock in LOCKS)
    for name in set(re.findall(r"^([\w.-]+)==", locks, re.MULTILINE)):
        try:
            found = files(name) or ()
        except PackageNotFoundError:
            continue  # A package of another system.
        yield from (path for file in found if (path := Path(str(file.locate()))).is_file())


def test_a_laptop_needs_no_more_disk_space_than_budgeted() -> None:
    used = sum(path.stat().st_blocks * 512 for path in list_files())
    assert 200 << 20 < used < BUDGET_BYTES, f"{used >> 20} MB; see scripts/setup for what it removes"


def test_no_large_file_is_installed_twice() -> None:
    by_size = defaultdict(set)
    for path in list_files():
        if path.stat().st_size >= LARGE_BYTES:
            by_size[path.stat().st_size].add(path.resolve())
    for paths in by_size.values():
        digests = [hashlib.sha256(path.read_bytes()).digest() for path in paths]
        assert len(set(digests)) == len(paths), paths
