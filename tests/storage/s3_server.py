"""S3 server: a real SeaweedFS, and a proxy before it that fails as networks and busy stores do."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from services.embedded.ports import pick_ports
from services.runtime.tasks import cancel
from services.storage.blobs import ObstoreBlobs
from services.storage.config import Config
from services.storage.credentials import CredentialCache
from services.storage.s3_api import S3Api, open_s3_api
from services.storage.stores import open_store

KEYS = {"access_key_id": "storage", "secret_access_key": "storage-secret-of-tests"}
BUCKET = "media"
START_SECONDS = 60.0


@dataclass
class S3Server:
    """A SeaweedFS with one bucket, which a test may kill and start again."""

    folder: Path
    ports: list[int] = field(default_factory=lambda: pick_ports(8))
    _process: asyncio.subprocess.Process | None = None

    @property
    def port(self) -> int:
        """The port of the S3 API."""
        return self.ports[0]

    @property
    def endpoint(self) -> str:
        """The address of the S3 API."""
        return f"http://127.0.0.1:{self.port}"

    def config(self, prefix: str = "", *, bucket: str = BUCKET, port: int | None = None, **settings: object) -> Config:
        """Return the settings of the storage service for a prefix of a bucket; `port` is that of a proxy."""
        given: dict[str, object] = {
            "url": f"s3://{bucket}/{prefix}".rstrip("/"),
            "endpoint": f"http://127.0.0.1:{port or self.port}",
            "allow_http": True,
            "credentials": "file",
            "credentials_file": self.folder / "credentials.json",
            "retries": 3,
            "retry_seconds": 20,
        }
        return Config.model_validate({**given, **settings})

    async def start(self) -> None:
        """Start the server, and wait until it serves."""
        s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = self.ports
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        keys = [{"accessKey": KEYS["access_key_id"], "secretKey": KEYS["secret_access_key"]}]
        reader = [{"accessKey": "reader", "secretKey": "reader-secret"}]
        identities = [
            {"name": "storage", "credentials": keys, "actions": ["Admin"]},
            {"name": "reader", "credentials": reader, "actions": [f"Read:{BUCKET}", f"List:{BUCKET}"]},
        ]
        (self.folder / "s3.json").write_text(json.dumps({"identities": identities}))
        (self.folder / "credentials.json").write_text(json.dumps(KEYS))
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(Path(sys.executable).with_name("weed"), "-logtostderr=true", "server"),
                *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={data}", "-master.telemetry=false"),
                *(f"-master.port={master}", f"-master.port.grpc={master_grpc}", "-master.electionTimeout=1s"),
                *("-master.volumeSizeLimitMB=64", f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}"),
                *("-volume.max=0", "-volume.preStopSeconds=0", "-filer", f"-filer.port={filer}"),
                *(f"-filer.port.grpc={filer_grpc}", "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}"),
                *("-s3.port.iceberg=0", f"-s3.config={self.folder / 's3.json'}"),
                stdout=log,
                stderr=log,
            )
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client, asyncio.timeout(START_SECONDS):
            for address in (f"{self.endpoint}/status", f"http://127.0.0.1:{filer}/"):
                while not await _responds(client, address):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            bucket = f"http://127.0.0.1:{filer}/buckets/{BUCKET}/"
            if (await client.get(bucket)).status_code == 200:
                return
            # The filer accepts a bucket as soon as a volume server has joined.
            while (await client.post(bucket)).status_code >= 300:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def create_bucket(self, name: str, *, versions: bool = False) -> None:
        """Create a bucket, which keeps former versions of objects where `versions` is set."""
        _, _, master, master_grpc, _, _, filer, filer_grpc = self.ports
        commands = f"s3.bucket.create -name {name}\n" + f"s3.bucket.versioning -name {name} -enable\n" * versions
        shell = await asyncio.create_subprocess_exec(
            *(Path(sys.executable).with_name("weed"), "shell", f"-master=127.0.0.1:{master}.{master_grpc}"),
            f"-filer=127.0.0.1:{filer}.{filer_grpc}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await shell.communicate(commands.encode())
        assert shell.returncode == 0, output

    async def kill(self) -> None:
        """End the server at once, as a crash does. What it had acknowledged is on disk."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None


async def _responds(client: httpx.AsyncClient, address: str) -> bool:
    try:
        return (await client.get(address)).status_code < 500
    except httpx.HTTPError:
        return False


@asynccontextmanager
async def open_blobs(config: Config) -> AsyncIterator[tuple[ObstoreBlobs, S3Api]]:
    """Open the blobs that settings name, and the S3 API of their bucket."""

    async def read() -> dict[str, str]:
        return dict(json.loads(config.credentials_file.read_bytes()))

    async with open_s3_api(config, read) as s3:
        assert s3 is not None
        credentials = CredentialCache(read, config.credentials_seconds)
        store = await open_store(config, credentials)
        refreshing = asyncio.create_task(credentials.run())
        try:
            yield ObstoreBlobs(store), s3
        finally:
            await cancel(refreshing)


Fault = Callable[[bytes], bytes | int | None]
"""What happens to a request with this head: None: it is passed on; bytes: they are the response; a number: the
connection is closed after so many bytes of the response, or, when negative, of the request."""


class FaultProxy:
    """A TCP proxy before a server of HTTP, whose requests fail as `fault` decides."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.fault: Fault = lambda head: None
        self.heads: list[bytes] = []
        """The first lines of all requests."""
        self.port = 0

    @asynccontextmanager
    async def run(self) -> AsyncIterator[FaultProxy]:
        """Serve while the context is open."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one request; the connection ends with its response."""
        async with AsyncExitStack() as stack:
            stack.callback(writer.close)
            stack.enter_context(suppress(OSError, asyncio.IncompleteReadError))
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.partition(b"\r\n")[0])
            answer = self.fault(head)
            if isinstance(answer, bytes):
                length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == _LENGTH), 0)
                await reader.readexactly(length)
                writer.write(answer)
                await writer.drain()
                return
            upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._target)
            stack.callback(upstream.close)
            upstream.write(head[:-2] + b"Connection: close\r\n\r\n")
            limit = answer if answer is not None else 1 << 40
            sending = asyncio.create_task(_copy(reader, upstream, -limit if limit < 0 else 1 << 40))
            try:
                if limit < 0:
                    await sending
                else:
                    await _copy(upstream_reader, writer, limit)
            finally:
                sending.cancel()


_LENGTH = b"content-length:"


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, limit: int) -> None:
    """Copy at most `limit` bytes."""
    while limit > 0 and (data := await source.read(min(65536, limit))):
        limit -= len(data)
        target.write(data)
        await target.drain()


def s3_error(status: int, code: str) -> bytes:
    """Return the response of a store of S3 with an error."""
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>Refused.</Message></Error>'
    return (
        f"HTTP/1.1 {status} Error\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n\r\n{body}"
    ).encode()
