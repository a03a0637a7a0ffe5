"""Replicas: services that run more than once on this machine, and the ports of their further instances."""

from __future__ import annotations

import os
from collections.abc import Mapping

from services.embedded import ports
from services.runtime.config import PREFIX, SERVICES, ConfigError

MOST = 16

# One instance each: these keep what they know in memory, or in files that one process writes.
_ALONE = ("config", "monitoring", "user")


def parse(text: str) -> dict[str, int]:
    """How many instances each service has, from `processing=2,orchestrator=2`. Raises ConfigError."""
    found: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        service, _, number = part.strip().partition("=")
        allowed = [name for name in SERVICES if name not in _ALONE]
        if service not in allowed:
            raise ConfigError(f"--replicas: {service} cannot have several instances; {', '.join(allowed)} can")
        if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= MOST:
            raise ConfigError(f"--replicas: {service} needs a number from 1 to {MOST}, as in {service}=2")
        found[service] = int(number)
    return found


def further_ports(replicas: Mapping[str, int]) -> dict[str, list[int]]:
    """Free ports for all instances but the first of each service."""
    numbers = iter(ports.pick(sum(number - 1 for number in replicas.values())))
    return {service: [next(numbers) for _ in range(count - 1)] for service, count in replicas.items() if count > 1}


def settings(replicas: Mapping[str, int]) -> dict[str, str]:
    """What the instances of processing are told, so that all of them together use each core once."""
    count = replicas.get("processing", 1)
    if count == 1:
        return {}
    cores = len(os.sched_getaffinity(0))
    slots = max(1, cores // count)
    threads = max(1, cores // (count * slots))
    return {f"{PREFIX}PROCESSING_SLOTS": str(slots), f"{PREFIX}PROCESSING_THREADS": str(threads)}
