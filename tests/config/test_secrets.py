"""Secrets in every store, and what only the store of encrypted files guarantees."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moneyprinter import errors
from services.config import secrets
from services.config.encrypted_files import EncryptedFiles, read_key
from services.runtime.config import ConfigError
from tests.config.memory import MemorySecrets
from tests.config.vault.openbao import OpenBao
from tests.config.vault.opened import open_vault

KEY = bytes(range(32))
NAME = "storage/master-key"


@pytest.fixture(params=["memory", "encrypted files", "vault"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, openbao: OpenBao) -> AsyncIterator[secrets.SecretStore]:
    match request.param:
        case "memory":
            yield MemorySecrets()
        case "encrypted files":
            yield await open_store(tmp_path / "store")
        case _:
            async with open_vault(openbao, tmp_path) as opened:
                yield opened.secrets


async def open_store(folder: Path, key: bytes = KEY) -> EncryptedFiles:
    files = EncryptedFiles(folder, key)
    await files.open()
    return files


def versions(folder: Path) -> list[Path]:
    """Return the files of NAME, the oldest first."""
    canary, *_ = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return sorted((path for path in folder.iterdir() if path.stem != canary.stem), key=lambda path: path.suffix)


async def test_an_unknown_secret_is_none(store: secrets.SecretStore) -> None:
    assert await store.find_newest(NAME) is None


async def test_the_newest_version_is_read(store: secrets.SecretStore) -> None:
    for version in range(1, 12):
        assert await store.add(NAME, b"value %d" % version, version - 1) == version
        assert await store.find_newest(NAME) == secrets.Secret(b"value %d" % version, version)


@pytest.mark.parametrize("replaces", [0, 2, 7])
async def test_a_write_that_does_not_follow_the_newest_version_is_refused(
    store: secrets.SecretStore, replaces: int
) -> None:
    await store.add(NAME, b"first", 0)
    with pytest.raises(errors.Conflict) as refused:
        await store.add(NAME, b"second", replaces)
    assert refused.value.reason == "SECRET_CONFLICT"
    assert await store.find_newest(NAME) == secrets.Secret(b"first", 1)


async def test_exactly_one_of_concurrent_writes_succeeds(store: secrets.SecretStore) -> None:
    values = [b"%d" % number for number in range(20)]
    results = await asyncio.gather(*(store.add(NAME, value, 0) for value in values), return_exceptions=True)
    winners = [value for value, result in zip(values, results, strict=True) if result == 1]
    assert [type(result) for result in results].count(errors.Conflict) == 19
    assert await store.find_newest(NAME) == secrets.Secret(winners[0], 1)


async def test_similar_names_are_different_secrets(store: secrets.SecretStore) -> None:
    names = ["a/b", "a/b/c", "a/b-c", "a/" + "x" * 126]
    for name in names:
        await store.add(name, name.encode(), 0)
    for name in names:
        assert await store.find_newest(name) == secrets.Secret(name.encode(), 1)


async def test_names_that_no_contract_allows_are_no_paths(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "store")
    for name in ["../a", "/etc/passwd", "a/../../b", "A/B", "a\0b"]:
        await store.add(name, name.encode(), 0)
        assert await store.find_newest(name) == secrets.Secret(name.encode(), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


async def test_files_are_private_and_reveal_nothing(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "store")
    await store.add(NAME, b"hunter2 hunter2", 0)
    for path in (tmp_path / "store").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert b"hunter2" not in path.read_bytes()
        assert "storage" not in path.name
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


async def test_secrets_survive_a_restart(tmp_path: Path) -> None:
    await (await open_store(tmp_path)).add(NAME, b"stored", 0)
    assert await (await open_store(tmp_path)).find_newest(NAME) == secrets.Secret(b"stored", 1)


async def test_two_processes_in_one_folder_do_not_overwrite_each_other(tmp_path: Path) -> None:
    stores = [await open_store(tmp_path) for _ in range(4)]
    results = await asyncio.gather(*(store.add(NAME, b"x", 0) for store in stores), return_exceptions=True)
    assert results.count(1) == 1


async def test_every_altered_byte_is_detected(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.add(NAME, b"value", 0)
    (path,) = versions(tmp_path)
    whole = path.read_bytes()
    altered = [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(len(whole))]
    for data in (*altered, whole[:-1], whole[:10], b"", whole + b"x"):
        path.write_bytes(data)
        with pytest.raises(errors.DataLoss) as found:
            await store.find_newest(NAME)
        assert found.value.reason == "DATA_CORRUPT"


async def test_a_file_of_another_version_or_name_is_detected(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.add(NAME, b"old", 0)
    await store.add(NAME, b"new", 1)
    first, second = versions(tmp_path)
    second.write_bytes(first.read_bytes())
    with pytest.raises(errors.DataLoss):
        await store.find_newest(NAME)
    await store.add("storage/other", b"theirs", 0)
    other = next(path for path in versions(tmp_path) if path.stem != first.stem)
    other.write_bytes(first.read_bytes())
    with pytest.raises(errors.DataLoss):
        await store.find_newest("storage/other")


async def test_temporary_files_of_a_dead_process_are_deleted_and_never_read(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.add(NAME, b"whole", 0)
    (path,) = versions(tmp_path)
    part = path.with_suffix(".0123.part")
    part.write_bytes(b"half")
    assert await store.find_newest(NAME) == secrets.Secret(b"whole", 1)
    os.utime(part, (0, 0))
    await open_store(tmp_path)
    assert not part.exists()


async def test_the_start_fails_with_another_master_key(tmp_path: Path) -> None:
    await open_store(tmp_path)
    with pytest.raises(ConfigError, match="another master key"):
        await open_store(tmp_path, bytes(32))


@pytest.mark.parametrize("data", [None, b"", b"short", bytes(33)])
def test_the_start_fails_with_a_master_key_of_another_length(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "key"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match="32 random bytes"):
        read_key(path)
