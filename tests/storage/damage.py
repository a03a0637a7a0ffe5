"""Damage: the ways in which tests damage a stored file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], None]


def flip_byte(path: Path, place: int) -> None:
    """Change one byte; a negative place counts from the end."""
    data = bytearray(path.read_bytes())
    data[place] ^= 0x40
    path.write_bytes(data)


def flip_middle(path: Path) -> None:
    """Change the byte in the middle of the content."""
    flip_byte(path, (path.stat().st_size - 108) // 2)


def truncate(path: Path) -> None:
    """Cut the second half off, as an interrupted copy does."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


DAMAGE: dict[str, Damage] = {
    "first byte": lambda path: flip_byte(path, 0),
    "middle": flip_middle,
    "footer": lambda path: flip_byte(path, -60),
    "last byte": lambda path: flip_byte(path, -1),
    "cut": truncate,
    "emptied": lambda path: os.truncate(path, 0),
    "deleted": Path.unlink,
}
