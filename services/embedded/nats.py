"""NATS: runs a server with JetStream, whose clients are the workloads of the mesh.

An acknowledged message is on disk. Every connection begins with a TLS 1.3 handshake. The SPIFFE id of the client's
certificate is its NATS user, and each user may use only the subjects of its own work.
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

from services.embedded import binaries, supervisor
from services.embedded.errors import PlatformError
from services.embedded.ports import BIND
from services.runtime import tls
from services.runtime.config import RuntimeConfig

log = structlog.get_logger()

_DAMAGE = re.compile(r"metafile|checksum file|Error (recreat|recover)|(create|recover)\w* failed", re.IGNORECASE)

_WORK = ["jobs.>", "video.processing.>", "status.>"]

# The subjects that each workload may publish and subscribe to. The server refuses all other workloads.
PERMISSIONS: dict[str, dict[str, Any]] = {
    "orchestrator": {
        "publish": ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>", *_WORK],
        "subscribe": ["_INBOX.orchestrator.>", *_WORK],
    },
    "monitoring": {"publish": {"deny": ">"}, "subscribe": ["video.processing.>"]},
}


def render_config(config: RuntimeConfig, port: int, folder: Path) -> str:
    """Return the server's configuration as JSON, with its store in `folder`."""
    ours = tls.find_certificates(config, "nats")
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
    # Of JSON's escapes, NATS reads only those of quotation marks and backslashes.
    return json.dumps(settings, indent=1, ensure_ascii=False)


@asynccontextmanager
async def run_server(
    config: RuntimeConfig,
    folder: Path,
    *,
    log_file: Path,
    port: int,
    wait_until_hung: Callable[[int], Awaitable[None]] | None = None,
) -> AsyncIterator[str]:
    """Run a server on the store in `folder` while the context is open. Yields its URL.

    A store that keeps the server from starting is moved aside: PostgreSQL holds everything of value in it, and the
    orchestrator fills the new store from there. Raises `PlatformError` when the server does not start with an empty
    store either.
    """
    async with AsyncExitStack() as stack:
        existed = folder.exists()
        try:
            server = await stack.enter_async_context(AsyncExitStack())
            start = log_file.stat().st_size if log_file.exists() else 0
            await server.enter_async_context(_run_on_store(config, folder, log_file, port, wait_until_hung))
            if damage := existed and _find_damage(log_file, start):
                await server.aclose()
                raise PlatformError(f"NATS reports a damaged store: {damage}")
        except (PlatformError, OSError) as failure:
            if not existed:
                raise
            aside = _move_aside(folder)
            try:
                await stack.enter_async_context(_run_on_store(config, folder, log_file, port, wait_until_hung))
            except (PlatformError, OSError):
                # The cause was not the store.
                shutil.rmtree(folder, ignore_errors=True)
                aside.rename(folder)
                raise failure from None
            log.error(
                "NATS store damaged, moved aside and rebuilt from PostgreSQL", moved_to=str(aside), cause=str(failure)
            )
        yield f"tls://{BIND}:{port}"


def _find_damage(log_file: Path, start: int) -> str:
    """Return the first log line about a damaged stream or consumer, from byte `start` on; empty when there is none.

    The server starts without them, and cannot create a stream whose files it cannot read. The lines about recovered
    messages that it writes after a SIGKILL report no damage.
    """
    with log_file.open("rb") as file:
        file.seek(start if start <= log_file.stat().st_size else 0)
        for line in file.read().decode(errors="replace").splitlines():
            if _DAMAGE.search(line):
                return " ".join(line.split())
    return ""


def _move_aside(folder: Path) -> Path:
    """Rename the folder of an unusable store. Returns the new path."""
    base = folder.with_name(f"{folder.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    aside = next(path for number in count() if not (path := base.with_name(f"{base.name}-{number}")).exists())
    return folder.rename(aside)


@asynccontextmanager
async def _run_on_store(
    config: RuntimeConfig,
    folder: Path,
    log_file: Path,
    port: int,
    wait_until_hung: Callable[[int], Awaitable[None]] | None,
) -> AsyncIterator[None]:
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / "nats.conf"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as new:
        new.write(render_config(config, port, folder))
    server = supervisor.Server("NATS", (binaries.nats_program(), "-c", file), log_file, wait_until_hung=wait_until_hung)

    async def ready() -> None:
        await supervisor.wait_until_open(port)

    async with supervisor.run_server(server, ready):
        yield
