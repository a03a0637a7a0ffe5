"""A storage service as the platform runs it, for tests of services that store objects."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from moneyprinter.media.v1 import media_pb2
from services.config.config import Config as SecretsConfig
from services.storage.config import Config
from tests.mesh import Mesh


async def start_storage(mesh: Mesh, folder: Path) -> Mesh:
    """Start storage and the config service in a mesh. Its blobs are in `folder / "objects"`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=folder / "secrets", master_key_file=folder / "master-key"))
    await mesh.start("storage", Config(root=folder / "objects"))
    return mesh


async def fetch(mesh: Mesh, stored: media_pb2.Object, path: Path) -> Path:
    """Write a stored object to a file."""
    path.unlink(missing_ok=True)
    await mesh.objects().get_file(stored, path)
    assert path.stat().st_size == stored.size_bytes
    return path


async def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until a condition holds. Raises `TimeoutError` when it does not within `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@contextmanager
def limit_file_size(size_bytes: int) -> Iterator[None]:
    """Make the system refuse larger files to this process and its children, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
