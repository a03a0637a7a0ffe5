"""A bucket of S3 that fails, refuses, keeps versions, or is damaged: reads return what was put, or a clear error."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from moneyprinter import errors
from services.runtime.config import ConfigError
from services.storage import lifecycle, objects
from services.storage.blobs import ObstoreBlobs
from services.storage.config import Config
from services.storage.credentials import CredentialCache
from services.storage.encryption import AesObjectCiphers, MasterKey
from services.storage.objects import Header, Trailer
from services.storage.s3_api import S3Api
from services.storage.stores import open_store
from tests.storage.s3_server import KEYS, Fault, FaultProxy, S3Server, open_blobs, s3_error
from tests.storage.test_objects import CIPHERS, KEY, content, parts, put, read

LARGE = 12 * 1024 * 1024
"""More than two parts of a multipart upload."""


@asynccontextmanager
async def open_bucket(server: S3Server, **settings: Any) -> AsyncIterator[tuple[ObstoreBlobs, S3Api]]:
    """Open an empty prefix of the bucket."""
    async with open_blobs(server.config(uuid4().hex, **settings)) as opened:
        yield opened


@asynccontextmanager
async def open_failing(server: S3Server, **settings: Any) -> AsyncIterator[tuple[ObstoreBlobs, FaultProxy]]:
    """Open an empty prefix of the bucket behind a proxy that passes everything on until a test sets its fault."""
    async with FaultProxy(server.port).run() as proxy, open_bucket(server, port=proxy.port, **settings) as (blobs, _):
        yield blobs, proxy


def first(count: int, method: bytes, answer: bytes | int) -> Fault:
    """Return a fault of the first requests of a method."""
    numbers = itertools.count()
    return lambda head: answer if head.startswith(method) and next(numbers) < count else None


@pytest.mark.parametrize("size", [5, LARGE])
async def test_of_several_writers_of_a_new_object_one_succeeds(blobs: ObstoreBlobs, size: int) -> None:
    async def write(seed: int) -> bytes:
        data = content(size, seed)

        async def new() -> AsyncIterator[Header | bytes | Trailer]:
            async for part in parts(data, step=1 << 20):
                yield Header(KEY, only_new=True) if isinstance(part, Header) else part

        await objects.put(blobs, CIPHERS, new())
        return data

    results = await asyncio.gather(*map(write, range(3)), return_exceptions=True)
    [stored] = [result for result in results if isinstance(result, bytes)]
    refused = [result for result in results if isinstance(result, errors.Conflict)]
    assert [each.reason for each in refused] == ["OBJECT_CONFLICT"] * 2
    assert await read(blobs) == stored
    with pytest.raises(errors.Conflict):
        await write(9)
    assert [entry async for batch in blobs.entries("temporary!") for entry in batch] == []


FAULTS: dict[str, Fault] = {
    "busy store": first(2, b"PUT", s3_error(503, "SlowDown")),
    "busy store at the end": first(1, b"POST", s3_error(503, "SlowDown")),
    "part cut": first(2, b"PUT", -1_000_000),
    "response to a part lost": first(1, b"PUT", 0),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_put_survives_a_passing_failure(s3_server: S3Server, fault: str) -> None:
    async with open_failing(s3_server) as (blobs, proxy):
        proxy.fault = FAULTS[fault]
        data = content(LARGE)
        await put(blobs, data)
        assert await read(blobs) == data


@pytest.mark.parametrize("answer", [s3_error(503, "SlowDown"), 0, 300_000], ids=["busy", "no response", "cut"])
async def test_a_read_survives_a_passing_failure(s3_server: S3Server, answer: bytes | int) -> None:
    async with open_failing(s3_server) as (blobs, proxy):
        data = content(2_000_000)
        await put(blobs, data)
        proxy.fault = first(2, b"GET", answer)
        assert await read(blobs) == data


REFUSALS = {
    "busy for long": (s3_error(503, "SlowDown"), errors.Unavailable, "SERVICE_UNAVAILABLE"),
    "quota": (s3_error(403, "QuotaExceeded"), errors.ResourceExhausted, "STORAGE_FULL"),
    "disks full": (s3_error(507, "XMinioStorageFull"), errors.ResourceExhausted, "STORAGE_FULL"),
    "no bucket": (s3_error(404, "NoSuchBucket"), errors.Unavailable, "STORE_REFUSED"),
    "rights removed": (s3_error(403, "AccessDenied"), errors.Unavailable, "STORE_REFUSED"),
    "keys expired": (s3_error(400, "ExpiredToken"), errors.Unavailable, "STORE_REFUSED"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refusal_has_its_reason_and_changes_nothing(s3_server: S3Server, refusal: str) -> None:
    answer, kind, reason = REFUSALS[refusal]
    async with open_failing(s3_server, retries=1) as (blobs, proxy):
        await put(blobs, b"before")
        proxy.fault = lambda head: answer
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: put(blobs, b"new"),
            lambda: put(blobs, content(LARGE)),
            lambda: objects.head(blobs, CIPHERS, KEY),
        ]
        for call in calls:
            with pytest.raises(kind) as refused:
                await call()
            assert refused.value.reason == reason
            assert "127.0.0.1" not in refused.value.message
            assert KEYS["secret_access_key"] not in refused.value.message
        proxy.fault = lambda head: None
        assert await read(blobs) == b"before"


async def test_a_missing_bucket_and_wrong_keys_are_no_missing_objects(s3_server: S3Server) -> None:
    (s3_server.folder / "wrong.json").write_text(json.dumps({**KEYS, "secret_access_key": "wrong"}))
    wrong: tuple[dict[str, Any], ...] = (
        {"bucket": "no-such-bucket"},
        {"credentials_file": s3_server.folder / "wrong.json"},
    )
    for settings in wrong:
        async with open_blobs(s3_server.config("x", **settings)) as (blobs, _):
            with pytest.raises(errors.Unavailable) as refused:
                await objects.head(blobs, CIPHERS, KEY)
            assert refused.value.reason == "STORE_REFUSED"


async def test_keys_that_were_replaced_are_used_without_a_restart(s3_server: S3Server) -> None:
    file = s3_server.folder / "rotated.json"
    file.write_text(json.dumps({**KEYS, "secret_access_key": "retired"}))
    async with open_bucket(s3_server, credentials_file=file, credentials_seconds=1) as (blobs, _):
        with pytest.raises(errors.Unavailable):
            await put(blobs, b"x")
        file.write_text(json.dumps(KEYS))
        async with asyncio.timeout(20):
            while True:
                try:
                    await put(blobs, b"x")
                    break
                except errors.Unavailable:
                    await asyncio.sleep(0.1)
        assert await read(blobs) == b"x"


async def test_keys_are_read_again_in_the_midst_of_an_upload(s3_server: S3Server) -> None:
    """obstore asks for keys in threads of its own, which have no event loop."""
    async with open_bucket(s3_server, credentials_seconds=1) as (blobs, _):
        data = content(4 * LARGE)
        began = asyncio.get_running_loop().time()

        async def slow() -> AsyncIterator[Header | bytes | Trailer]:
            async for part in parts(data, step=1 << 20):
                yield part
                await asyncio.sleep(0.05)

        await objects.put(blobs, CIPHERS, slow())
        assert asyncio.get_running_loop().time() - began > 2, "the keys expired at least once"
        assert await read(blobs) == data


async def test_a_put_that_is_cut_leaves_no_upload_and_an_abandoned_one_is_aborted(s3_server: S3Server) -> None:
    async with open_bucket(s3_server) as (blobs, s3):
        written, never = asyncio.Event(), asyncio.Event()

        async def stuck() -> AsyncIterator[Header | bytes | Trailer]:
            yield Header(KEY)
            for number in range(12):
                yield content(1 << 20, number)
            written.set()
            await never.wait()

        cut = asyncio.ensure_future(objects.put(blobs, CIPHERS, stuck()))
        await written.wait()
        with pytest.raises(errors.NotFound):
            await objects.head(blobs, CIPHERS, KEY)
        assert await s3.abort_uploads(0) == 0, "it is not old"
        assert await s3.abort_uploads(1e11) == 1
        cut.cancel()
        await asyncio.wait([cut])
        cut = asyncio.ensure_future(objects.put(blobs, CIPHERS, stuck()))
        written.clear()
        await written.wait()
        cut.cancel()
        await asyncio.wait([cut])
        async with asyncio.timeout(10):
            while [upload async for upload in uploads(s3)]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def uploads(s3: S3Api) -> AsyncIterator[str]:
    async for page in s3._pages({"uploads": "", "prefix": s3._prefix}, ("KeyMarker", "UploadIdMarker")):
        for upload in page.iterfind("{*}Upload"):
            yield upload.findtext("{*}Key") or ""


async def test_old_temporary_blobs_are_deleted(blobs: ObstoreBlobs) -> None:
    async def some() -> AsyncIterator[bytes]:
        yield b"half"

    await blobs.write(f"{lifecycle.TEMPORARY}1!", some())
    await lifecycle.delete_temporary(blobs, 0)
    assert [entry.name async for batch in blobs.entries("temporary!") for entry in batch]
    await lifecycle.delete_temporary(blobs, 1e11)
    assert not [entry.name async for batch in blobs.entries("temporary!") for entry in batch]


async def test_a_delete_removes_all_versions_of_a_bucket_that_keeps_them(s3_server: S3Server) -> None:
    bucket = f"versions-{uuid4().hex[:8]}"
    await s3_server.create_bucket(bucket, versions=True)
    async with open_blobs(s3_server.config("platform", bucket=bucket)) as (plain, s3):
        assert await s3.has_versions()
        blobs = ObstoreBlobs(plain._store, s3)
        for key in (KEY, f"{KEY}.png"):
            for data in (b"first", b"second"):
                await put(blobs, data, key)
        await objects.delete(plain, KEY)
        assert await versions(s3) == {KEY: 3, f"{KEY}.png": 2}, "a marker hides the versions"
        await objects.delete(blobs, KEY)
        assert await versions(s3) == {f"{KEY}.png": 2}
        assert await read(blobs, f"{KEY}.png") == b"second"
    async with open_bucket(s3_server) as (_, s3):
        assert not await s3.has_versions()


async def versions(s3: S3Api) -> dict[str, int]:
    """Return the number of versions and markers of each object."""
    found: dict[str, int] = {}
    async for page in s3._pages({"versions": "", "prefix": s3._prefix}, ("KeyMarker", "VersionIdMarker")):
        for entry in (*page.iterfind("{*}Version"), *page.iterfind("{*}DeleteMarker")):
            key = (entry.findtext("{*}Key") or "").removeprefix(s3._prefix).removesuffix("!")
            found[key] = found.get(key, 0) + 1
    return found


async def test_every_altered_byte_in_a_bucket_is_detected(s3_server: S3Server) -> None:
    async with open_bucket(s3_server) as (blobs, _):
        data = content(700_000)
        await put(blobs, data)
        name = objects.blob_name(KEY)
        _, size = await blobs.tail(name, 1)
        whole = bytes(await blobs.read(name, 0, size))
        footer = size - CIPHERS.footer_bytes
        for place in (0, 1, 262_143, 262_144, 262_160, 600_000, footer - 1, footer, footer + 30, size - 1):
            altered = bytearray(whole)
            altered[place] ^= 1

            async def some(altered: bytes = bytes(altered)) -> AsyncIterator[bytes]:
                yield altered

            await blobs.write(name, some())
            with pytest.raises(errors.DataLoss):
                await read(blobs)


async def test_a_server_that_is_killed_and_restarted_during_a_put_and_a_get(s3_server: S3Server) -> None:
    async with open_bucket(s3_server, retries=10, retry_seconds=60) as (blobs, _):
        before, data = content(LARGE, 1), content(LARGE, 2)
        await put(blobs, before, "before")
        half, restarted = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[Header | bytes | Trailer]:
            for number, part in enumerate([part async for part in parts(data, step=1 << 20)]):
                if number == 8:
                    half.set()
                yield part

        async def get_slowly() -> bytes:
            seen = b""
            async for part in objects.get(blobs, CIPHERS, "before"):
                if isinstance(part, bytes):
                    seen += part
                    if len(seen) > LARGE // 2:
                        await restarted.wait()
            return seen

        writing, reading = asyncio.create_task(objects.put(blobs, CIPHERS, slow())), asyncio.create_task(get_slowly())
        await half.wait()
        await s3_server.kill()
        await s3_server.start()
        restarted.set()
        assert await reading == before
        try:
            await writing
        except errors.Unavailable:
            # An upload that the server has forgotten fails, and the caller sends the object again.
            await put(blobs, data)
        assert await read(blobs) == data


async def test_the_store_of_another_platform_is_refused(blobs: ObstoreBlobs) -> None:
    others = AesObjectCiphers(MasterKey(hashlib.sha256(b"another").digest(), 1))
    await asyncio.gather(*(objects.claim_store(blobs, CIPHERS) for _ in range(3)))
    await objects.claim_store(blobs, CIPHERS)
    with pytest.raises(errors.DataLoss):
        await objects.claim_store(blobs, others)


async def read_keys() -> dict[str, str]:
    return KEYS


WRONG_SETTINGS: dict[str, tuple[dict[str, object], str]] = {
    "no TLS": ({"url": "s3://media", "endpoint": "http://127.0.0.1:1"}, "ALLOW_HTTP"),
    "no account": ({"url": "az://media"}, "AZURE_ACCOUNT"),
    "no authority": ({"url": "s3://media", "ca_file": "/no/such/file"}, "CA_FILE"),
}


@pytest.mark.parametrize("wrong", WRONG_SETTINGS)
async def test_settings_that_do_not_fit_together_are_refused(wrong: str) -> None:
    settings, named = WRONG_SETTINGS[wrong]
    with pytest.raises(ConfigError, match=named):
        await open_store(Config.model_validate(settings), CredentialCache(read_keys, 60))


@pytest.mark.parametrize("url", ["http://media", "s3://", "s3://Media", "s3://media?x=1", "media", "s3://a:b@media"])
def test_a_url_of_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Config(url=url)


async def test_keys_in_the_environment_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never-shown")
    with pytest.raises(ConfigError, match="AWS_SECRET_ACCESS_KEY is set") as refused:
        await open_store(Config(url="s3://media"), CredentialCache(read_keys, 60))
    assert "never-shown" not in str(refused.value)


async def test_a_file_and_memory_are_named_by_url(tmp_path: Path) -> None:
    blobs = ObstoreBlobs(await open_store(Config(url=f"file://{tmp_path}/new/folder"), CredentialCache(read_keys, 60)))
    await put(blobs, b"x")
    assert await read(blobs) == b"x"
    blobs = ObstoreBlobs(await open_store(Config(url="memory://"), CredentialCache(read_keys, 60)))
    await put(blobs, b"x")
    assert await read(blobs) == b"x"
