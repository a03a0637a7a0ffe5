"""A storage service over a config service, as the platform runs them, and a real store of S3."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from services.config.config import Config as SecretsConfig
from services.storage.blobs import ObstoreBlobs
from services.storage.config import Config
from tests.mesh import Mesh
from tests.storage.s3_server import S3Server, open_blobs


@pytest.fixture
async def storage(mesh: Mesh, tmp_path: Path) -> Mesh:
    """A mesh in which storage runs, with its blobs in `tmp_path / "objects"`."""
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    await mesh.start("storage", Config(root=tmp_path / "objects"))
    return mesh


@pytest.fixture(scope="session")
async def s3_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3Server]:
    """A SeaweedFS, once for each process of tests."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of the local store."""
    folder = tmp_path / "objects"
    folder.mkdir()
    return folder


@pytest.fixture
def local(root: Path) -> ObstoreBlobs:
    """Blobs in a folder."""
    return ObstoreBlobs(LocalStore(root))


@pytest.fixture(params=["memory", "local", "s3"])
def store_server(request: pytest.FixtureRequest) -> S3Server | str:
    """Each kind of store: its name, or the server of S3, which starts when the first test needs it."""
    return request.getfixturevalue("s3_server") if request.param == "s3" else str(request.param)


@pytest.fixture
async def blobs(store_server: S3Server | str, root: Path) -> AsyncIterator[ObstoreBlobs]:
    """Blobs in every kind of store; each test has an empty one."""
    if isinstance(store_server, S3Server):
        async with open_blobs(store_server.config(uuid.uuid4().hex)) as (bucket, _):
            yield bucket
    else:
        yield ObstoreBlobs(MemoryStore() if store_server == "memory" else LocalStore(root))
