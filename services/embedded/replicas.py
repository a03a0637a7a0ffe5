"""Services that run in several instances on this machine, and the ports of their further instances."""

from __future__ import annotations

import os
from collections.abc import Mapping

from services.embedded import ports
from services.runtime.config import PREFIX, SERVICES, ConfigError

MAX_REPLICAS = 16

# One instance each: these keep state in memory, or in files that only one process may write.
_SINGLE_INSTANCE = ("config", "monitoring", "user")


def parse_replicas(text: str) -> dict[str, int]:
    """Parse `processing=2,orchestrator=2` into the number of instances of each service.

    Raises `ConfigError` when a service cannot have several instances, or its number is not from 1 to 16.
    """
    found: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        service, _, number = part.strip().partition("=")
        allowed = [name for name in SERVICES if name not in _SINGLE_INSTANCE]
        if service not in allowed:
            raise ConfigError(f"--replicas: {service} cannot have several instances; these can: {', '.join(allowed)}")
        if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= MAX_REPLICAS:
            raise ConfigError(f"--replicas: {service} needs a number from 1 to {MAX_REPLICAS}, as in {service}=2")
        found[service] = int(number)
    return found


def pick_further_ports(replicas: Mapping[str, int]) -> dict[str, list[int]]:
    """Return free ports for all instances but the first of each service."""
    numbers = iter(ports.pick_ports(sum(number - 1 for number in replicas.values())))
    return {service: [next(numbers) for _ in range(count - 1)] for service, count in replicas.items() if count > 1}


def replica_variables(replicas: Mapping[str, int]) -> dict[str, str]:
    """Return the settings with which all instances of processing together use each core once."""
    count = replicas.get("processing", 1)
    if count == 1:
        return {}
    cores = len(os.sched_getaffinity(0))
    slots = max(1, cores // count)
    threads = max(1, cores // (count * slots))
    return {f"{PREFIX}PROCESSING_SLOTS": str(slots), f"{PREFIX}PROCESSING_THREADS": str(threads)}
