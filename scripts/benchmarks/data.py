"""The data layer: throughput and memory of objects in a bucket, against obstore alone on the same server."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import obstore
import psutil

from services.config.config import Config as SecretsConfig
from services.embedded import authority
from services.runtime.config import PORTS
from services.storage import objects
from services.storage.blobs import MAX_CONCURRENT_PARTS, PART_BYTES
from services.storage.encryption import AesObjectCiphers, MasterKey
from services.storage.objects import Header, Trailer
from tests.mesh import Mesh, mesh_config
from tests.storage.s3_server import S3Server, open_blobs

MB = 1 << 20
CIPHERS = AesObjectCiphers(MasterKey(bytes(range(32)), 1))

Transfer = Callable[[], Awaitable[None]]


class Peak:
    """The memory of this process above that at the start."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.start = self.bytes = self._process.memory_info().rss

    def sample(self) -> None:
        self.bytes = max(self.bytes, self._process.memory_info().rss)

    @property
    def growth_mb(self) -> float:
        return (self.bytes - self.start) / MB


async def measure(size: int, rounds: int, transfers: Mapping[str, Transfer]) -> dict[str, float]:
    """Return the median megabytes a second of each transfer; they take turns, so that all have the same load."""
    seconds: dict[str, list[float]] = {name: [] for name in transfers}
    for _ in range(rounds):
        for name, transfer in transfers.items():
            began = time.perf_counter()
            await transfer()
            seconds[name].append(time.perf_counter() - began)
    return {name: size / MB / statistics.median(taken) for name, taken in seconds.items()}


async def run(size: int, rounds: int, folder: Path) -> None:
    """Measure, and print the tables."""
    server = S3Server(folder / "s3")
    block = os.urandom(MB)
    digest = hashlib.sha256()
    for _ in range(size // MB):
        digest.update(block)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(size // MB):
            yield block

    async def parts() -> AsyncIterator[Header | bytes | Trailer]:
        yield Header("layer")
        async for chunk in chunks():
            yield chunk
        yield Trailer(digest.hexdigest())

    config = mesh_config(folder / "certificates", folder)
    authority.issue_certificates(folder / "certificates", PORTS, trust_domain="cluster.local", namespace="moneyprinter")
    (folder / "master-key").write_bytes(bytes(range(32)))
    try:
        await server.start()
        async with open_blobs(server.config("bench")) as (blobs, _), Mesh(config) as mesh:
            store = blobs._store
            await mesh.start("config", SecretsConfig(store=folder / "secrets", master_key_file=folder / "master-key"))
            await mesh.start("storage", server.config("service", verify_gigabytes_per_hour=0))
            service, peak = mesh.objects(), Peak()

            async def put_alone() -> None:
                async with obstore.open_writer_async(
                    store, "alone", buffer_size=PART_BYTES, max_concurrency=MAX_CONCURRENT_PARTS
                ) as writer:
                    async for chunk in chunks():
                        await writer.write(chunk)

            async def get_alone() -> None:
                async for _ in (await obstore.get_async(store, "alone")).stream(min_chunk_size=MB):
                    peak.sample()

            async def put_layer() -> None:
                await objects.put(blobs, CIPHERS, parts())

            async def get_layer() -> None:
                async for _ in objects.get(blobs, CIPHERS, "layer"):
                    peak.sample()

            async def put_service() -> None:
                await service.put("service", chunks())

            async def get_service() -> None:
                async for _ in service.get("service"):
                    peak.sample()

            up = {"obstore alone": put_alone, "encrypted": put_layer, "service over mTLS": put_service}
            down = {"obstore alone": get_alone, "encrypted": get_layer, "service over mTLS": get_service}
            await measure(size, 1, up)
            uploads = await measure(size, rounds, up)
            downloads = await measure(size, rounds, down)
    finally:
        await server.kill()
    print(f"Objects of {size // MB} MB in SeaweedFS, median of {rounds}\n")
    print("| | up, MB/s | of obstore | down, MB/s | of obstore |\n|---|---:|---:|---:|---:|")
    for name in up:
        up_share, down_share = uploads[name] / uploads["obstore alone"], downloads[name] / downloads["obstore alone"]
        print(f"| {name} | {uploads[name]:.0f} | {up_share:.0%} | {downloads[name]:.0f} | {down_share:.0%} |")
    print(f"\nMemory of the process, client and service together: at most {peak.growth_mb:.0f} MB more than before.")


def main() -> None:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=256, help="the size of an object")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(options.mb * MB, options.rounds, Path(folder)))


if __name__ == "__main__":
    main()
