"""Memory growth: by how many bytes a process grows in which a client and the service store and read 200 MB.

`python -m tests.storage.memory_growth CERTIFICATES FOLDER` runs in a process of its own, without memory of other tests.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil

from services.config.config import Config as SecretsConfig
from services.runtime.config import PORTS, RuntimeConfig
from services.storage.config import Config
from tests.mesh import Mesh

MB = 1 << 20


async def measure_growth(certificates: Path, folder: Path) -> int:
    process, block, before, peak = psutil.Process(), os.urandom(MB), 0, 0
    config = RuntimeConfig(certificates=certificates, ports=dict.fromkeys(PORTS, 0), scratch=folder / "scratch")

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal before, peak
        for number in range(200):
            if number == 20:
                before = process.memory_info().rss
            peak = max(peak, process.memory_info().rss)
            yield block

    async with Mesh(config) as mesh:
        (folder / "master-key").write_bytes(bytes(range(32)))
        await mesh.start("config", SecretsConfig(store=folder / "secrets", master_key_file=folder / "master-key"))
        await mesh.start("storage", Config(root=folder / "objects"))
        await mesh.objects().put("large", chunks())
        async for _ in mesh.objects().get("large"):
            peak = max(peak, process.memory_info().rss)
    return peak - before


if __name__ == "__main__":
    print(asyncio.run(measure_growth(*map(Path, sys.argv[1:]))))
