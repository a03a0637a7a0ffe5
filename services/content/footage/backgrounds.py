"""Backgrounds: the seeds and colours of the animated backgrounds of scenes without clips."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

NAME = "background"

# Dark grounds under brighter shapes, on which white captions are easy to read.
_PALETTES = (
    ("#0b1026", "#3a1c71", "#d76d77", "#ffaf7b"),
    ("#061a24", "#0f4c5c", "#1b9aaa", "#7ae7c7"),
    ("#140b1e", "#5b2a86", "#b5179e", "#f72585"),
    ("#071a12", "#14532d", "#2e8b57", "#b7e4c7"),
    ("#0a1428", "#1d3b72", "#3f8efc", "#87bfff"),
    ("#1c0f0a", "#7f2704", "#e4572e", "#f9c784"),
    ("#0f0f1a", "#2b2d5b", "#6c63ff", "#c3bef7"),
    ("#0d1b1e", "#264653", "#2a9d8f", "#e9c46a"),
)
_MAX_SEED = 2**31 - 1


@dataclass(frozen=True)
class Background:
    """An animated background."""

    seed: int
    colours: tuple[str, ...]

    @property
    def key(self) -> str:
        """Its id, like that of a clip."""
        return f"{NAME}:{self.seed}"


def iterate_backgrounds(topic: str) -> Iterator[Background]:
    """Yield different backgrounds for the scenes of a video, always the same ones for a topic.

    Successive seeds have different designs; successive palettes differ as well.
    """
    first = zlib.crc32(topic.encode()) % _MAX_SEED
    for number in range(_MAX_SEED):
        seed = 1 + (first + number) % _MAX_SEED
        yield Background(seed, _PALETTES[seed % len(_PALETTES)])
