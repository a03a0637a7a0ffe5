"""A process that runs PostgreSQL and NATS on a folder until it is stopped or killed."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from services.embedded import authority, nats, ports, postgres
from services.runtime import telemetry
from services.runtime.config import RuntimeConfig


async def main(data: Path) -> None:
    certificates = data / "certificates"
    authority.issue_certificates(certificates, ["nats"], trust_domain="cluster.local", namespace="moneyprinter")
    config = RuntimeConfig(certificates=certificates)
    telemetry.configure(config)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    first, second = ports.pick_ports(2)
    async with (
        postgres.run_server(
            data / "postgres", passwords=data / "passwords", log_file=data / "postgres.log", port=first
        ) as database,
        nats.run_server(config, data / "nats", log_file=data / "nats.log", port=second),
    ):
        await postgres.create_schemas(database)
        print(database.conninfo("user"), flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
