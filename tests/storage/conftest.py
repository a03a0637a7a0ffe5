"""A storage service over a config service, as the platform runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.config.config import Config as SecretsConfig
from services.storage.config import Config
from tests.mesh import Mesh


@pytest.fixture
async def storage(mesh: Mesh, tmp_path: Path) -> Mesh:
    """A mesh in which storage runs, with its blobs in `tmp_path / "objects"`."""
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    await mesh.start("storage", Config(root=tmp_path / "objects"))
    return mesh
