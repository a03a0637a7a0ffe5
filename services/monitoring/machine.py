"""Machine: how busy this one is, as psutil reads it."""

from __future__ import annotations

from collections.abc import Callable

import psutil

# Over less time a figure would say little.
SAMPLE_SECONDS = 0.5


class ThisMachine:
    """CPU use since the sample before, which is kept here, so that nobody has to wait for one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sampled = clock()
        self._percent = 0.0
        psutil.cpu_percent()

    def cpu_percent(self) -> float:
        """How busy the CPUs were since this was last asked."""
        if (now := self._clock()) - self._sampled >= SAMPLE_SECONDS:
            self._percent, self._sampled = psutil.cpu_percent(), now
        return self._percent

    def memory_percent(self) -> float:
        """How full the memory is."""
        return float(psutil.virtual_memory().percent)
