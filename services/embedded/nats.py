"""Nats: a NATS server with JetStream, whose clients are the workloads of the mesh, known by their certificates.

A message that was acknowledged is on disk. TLS 1.3 comes first on every connection; the SPIFFE id of
the client's certificate is its user, and each user may use the subjects of its work only.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from services.embedded import servers, wheels
from services.embedded.ports import BIND
from services.runtime import tls
from services.runtime.config import RuntimeConfig

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
async def running(config: RuntimeConfig, folder: Path, *, log_file: Path, port: int) -> AsyncIterator[str]:
    """Run a server on the data in `folder` while the context is open; yield its URL.

    Raises PlatformError when it does not start.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / "nats.conf"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as new:
        new.write(render(config, port, folder))
    server = servers.Server("NATS", (wheels.nats(), "-c", file), log_file)

    async def ready() -> None:
        await servers.until_open(port)

    async with servers.running(server, ready):
        yield f"tls://{BIND}:{port}"
