"""Fixtures of the audio tests: espeak-ng of the embedded platform, and an object store in a folder."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import espeakng_loader
import pytest

from moneyprinter.audio.v1 import audio_service_pb2_grpc as pb_grpc
from services.audio import espeak
from services.audio.config import Config
from services.config.config import Config as SecretsConfig
from services.storage.config import Config as StorageConfig
from tests.mesh import Mesh, ffmpeg_program


def settings() -> Config:
    """The settings of the audio service with espeak-ng from its wheel."""
    return Config(
        espeak_library=Path(espeakng_loader.get_library_path()), espeak_data=Path(espeakng_loader.get_data_path())
    )


class Folder:
    """An object store in a folder; an object is described by its key."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.puts: list[str] = []

    def path(self, key: str) -> Path:
        return self.root / key.replace("/", "-")

    async def head(self, key: str) -> str | None:
        return key if self.path(key).exists() else None

    async def put_file(self, key: str, path: Path) -> str:
        shutil.copy(path, self.path(key))
        self.puts.append(key)
        return key

    async def put_bytes(self, key: str, data: bytes) -> str:
        self.path(key).write_bytes(data)
        self.puts.append(key)
        return key

    async def get(self, key: str) -> AsyncIterator[bytes]:
        yield self.path(key).read_bytes()

    async def get_file(self, source: str, path: Path) -> None:
        shutil.copy(self.path(source), path)


@pytest.fixture
def objects(tmp_path: Path) -> Folder:
    (tmp_path / "objects").mkdir()
    return Folder(tmp_path / "objects")


@pytest.fixture(scope="session")
def kokoro_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the optimized model of the neural voice, which tests share."""
    return tmp_path_factory.mktemp("kokoro")


@pytest.fixture(scope="session")
def provider() -> espeak.Espeak:
    config = settings()
    return espeak.open_espeak(config.espeak_library, config.espeak_data, config.words_per_minute, ffmpeg_program())


@pytest.fixture
async def audio(mesh: Mesh, tmp_path: Path) -> Mesh:
    """A mesh with the audio service and its dependencies."""
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    await mesh.start("storage", StorageConfig(root=tmp_path / "blobs"))
    await mesh.start("audio", settings())
    return mesh


@pytest.fixture
async def stub(audio: Mesh) -> pb_grpc.AudioServiceAsyncStub:
    return audio.stub(pb_grpc.AudioServiceStub)
