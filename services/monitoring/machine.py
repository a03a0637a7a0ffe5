"""Machine: CPU and memory of this machine, from psutil."""

from __future__ import annotations

from collections.abc import Callable

import psutil

# Shorter samples vary too much.
SAMPLE_SECONDS = 0.5


class LocalMachine:
    """The load since the former sample, which is stored, so that no caller waits for a sample."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sample_time = clock()
        self._percent = 0.0
        psutil.cpu_percent()

    def cpu_percent(self) -> float:
        """Return the load of the CPUs since the former sample."""
        if (now := self._clock()) - self._sample_time >= SAMPLE_SECONDS:
            self._percent, self._sample_time = psutil.cpu_percent(), now
        return self._percent

    def memory_percent(self) -> float:
        """Return how much of the memory is used."""
        return float(psutil.virtual_memory().percent)
