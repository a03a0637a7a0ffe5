"""Nats: a NATS server with JetStream, whose clients are the workloads of the mesh, known by their certificates.

A message that was acknowledged is on disk. TLS 1.3 comes first on every connection; the SPIFFE id of
the client's certificate is its user, and each user may use the subjects of its work only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import structlog

from services.embedded import servers, wheels
from services.embedded.errors import PlatformError
from services.embedded.ports import BIND
from services.runtime import tls
from services.runtime.config import RuntimeConfig

log = structlog.get_logger()

_DAMAGE = re.compile(r"metafile|checksum file|Error (recreat|recover)|(create|recover)\w* failed", re.IGNORECASE)

_WORK = ["jobs.>", "video.processing.>", "status.>"]

# What each workload may publish and subscribe to; who is not here is refused.
PERMISSIONS: dict[str, dict[str, Any]] = {
    "orchestrator": {
        "publish": ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>", *_WORK],
        "subscribe": ["_INBOX.orchestrator.>", *_WORK],
    },
    "monitoring": {"publish": {"deny": ">"}, "subscribe": ["video.processing.>"]},
}


def render(config: RuntimeConfig, port: int, folder: Path) -> str:
    """The server's configuration; NATS reads JSON."""
    ours = tls.certificates(config, "nats")
    users = [
        {"user": tls.spiffe_id(config, workload), "permissions": permissions}
        for workload, permissions in PERMISSIONS.items()
    ]
    settings = {
        "server_name": "moneyprinter",
        "listen": f"{BIND}:{port}",
        "accounts": {"mesh": {"jetstream": "enabled", "users": users}},
        "jetstream": {
            "store_dir": str(folder),
            "sync_interval": "always",
            "max_memory_store": 16 << 20,
            "max_file_store": 1 << 30,
        },
        "tls": {
            "cert_file": str(ours.cert),
            "key_file": str(ours.key),
            "ca_file": str(ours.authority),
            "verify_and_map": True,
            "handshake_first": True,
            "min_version": "1.3",
        },
    }
    # NATS reads no escapes of JSON but those of quotation marks and backslashes.
    return json.dumps(settings, indent=1, ensure_ascii=False)


@asynccontextmanager
async def running(
    config: RuntimeConfig,
    folder: Path,
    *,
    log_file: Path,
    port: int,
    until_hung: Callable[[int], Awaitable[None]] | None = None,
) -> AsyncIterator[str]:
    """Run a server on the data in `folder` while the context is open; yield its URL.

    A store with which the server does not start is set aside: all that matters in it is in PostgreSQL, too, and the
    orchestrator fills the new one from there. Raises PlatformError when the server does not start with an empty one.
    """
    async with AsyncExitStack() as stack:
        existed = folder.exists()
        try:
            server = await stack.enter_async_context(AsyncExitStack())
            start = log_file.stat().st_size if log_file.exists() else 0
            await server.enter_async_context(_running(config, folder, log_file, port, until_hung))
            if damage := existed and _damage(log_file, start):
                await server.aclose()
                raise PlatformError(f"NATS reports a damaged store: {damage}")
        except (PlatformError, OSError) as failure:
            if not existed:
                raise
            aside = _set_aside(folder)
            try:
                await stack.enter_async_context(_running(config, folder, log_file, port, until_hung))
            except (PlatformError, OSError):
                # It was not the store's fault.
                shutil.rmtree(folder, ignore_errors=True)
                aside.rename(folder)
                raise failure from None
            log.error("NATS store damaged, set aside and made anew from PostgreSQL", kept=str(aside), why=str(failure))
        yield f"tls://{BIND}:{port}"


def _damage(log_file: Path, start: int) -> str:
    """What the server has logged of damaged streams and consumers, from byte `start` of its log on; empty: nothing.

    It goes on without them, and cannot make a stream anew of which it cannot read the files. What it says after it
    was killed, of messages that it reads again, is no damage.
    """
    with log_file.open("rb") as file:
        file.seek(start if start <= log_file.stat().st_size else 0)
        for line in file.read().decode(errors="replace").splitlines():
            if _DAMAGE.search(line):
                return " ".join(line.split())
    return ""


def _set_aside(folder: Path) -> Path:
    """Rename the folder of a store that cannot be used; returns where it is now."""
    base = folder.with_name(f"{folder.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    aside = next(path for number in count() if not (path := base.with_name(f"{base.name}-{number}")).exists())
    return folder.rename(aside)


@asynccontextmanager
async def _running(
    config: RuntimeConfig,
    folder: Path,
    log_file: Path,
    port: int,
    until_hung: Callable[[int], Awaitable[None]] | None,
) -> AsyncIterator[None]:
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / "nats.conf"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as new:
        new.write(render(config, port, folder))
    server = servers.Server("NATS", (wheels.nats(), "-c", file), log_file, until_hung=until_hung)

    async def ready() -> None:
        await servers.until_open(port)

    async with servers.running(server, ready):
        yield
