"""The commands that run the platform or its services here: `moneyprinter up`, `serve` and `doctor`."""

from __future__ import annotations

import asyncio
import gc
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from services.commands.terminal import handle_signals, out
from services.entry import INTERRUPTED

GATEWAY_PORT = 8080

app = typer.Typer()


@app.command(
    epilog="Examples: [bold]moneyprinter up[/] · [bold]moneyprinter up --port 9000 --data /tmp/try[/] ·"
    " [bold]moneyprinter up --processes --replicas processing=2,orchestrator=2[/]"
)
def up(
    data: Annotated[
        Path | None,
        typer.Option(help="The platform's data folder.", show_default="~/.local/share/moneyprinter"),
    ] = None,
    port: Annotated[
        int,
        typer.Option(help="The gateway's port; the services use the 13 ports after it. 0: any free ports.", min=0),
    ] = GATEWAY_PORT,
    processes: Annotated[
        bool, typer.Option("--processes", help="Run each service in its own process instead of all in one.")
    ] = False,
    replicas: Annotated[
        str, typer.Option(metavar="SERVICE=N,...", help="With --processes: the number of instances of a service.")
    ] = "",
    tls: Annotated[
        bool, typer.Option("--tls", help="Serve https. Clients verify it with certificates/ca.pem in the data folder.")
    ] = False,
    allow_local: Annotated[
        bool,
        typer.Option(
            "--allow-local",
            help="Allow clips from and webhooks to this machine, also over http. For development.",
        ),
    ] = False,
) -> None:
    """Run the whole platform on this machine, in the foreground. Ctrl-C stops it; a second Ctrl-C kills it."""
    from services.embedded import data_folder
    from services.embedded import replicas as instances
    from services.runtime.config import ConfigError

    if replicas and not processes:
        raise ConfigError("--replicas needs --processes, since each instance is a process")
    options = {
        "processes": processes,
        "instances": instances.parse_replicas(replicas),
        "tls": tls,
        "allow_local": allow_local,
    }
    raise typer.Exit(asyncio.run(_up(data or data_folder.default_folder(), port=port, **options)))


async def _up(data: Path, **options: Any) -> int:
    stop = asyncio.Event()
    starting = asyncio.current_task()

    def interrupt() -> None:
        if stop.is_set():
            # All child processes die with this one.
            os._exit(INTERRUPTED)
        stop.set()
        if starting is not None:
            starting.cancel()

    handle_signals(interrupt)
    import structlog

    from services.embedded.platform import run_platform
    from services.embedded.watchdog import run_watchdog
    from services.runtime.config import RuntimeConfig
    from services.runtime.layers import load

    # The platform logs to its data folder. What libraries log after it has stopped is dropped.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    try:
        async with AsyncExitStack() as stack, run_platform(data, **options) as running:
            starting = None
            # It also watches the stop.
            limit_seconds = load(RuntimeConfig).unresponsive_seconds
            await stack.enter_async_context(run_watchdog(running.data / "logs" / "services.log", limit_seconds))
            _print_first_account(running.new_account)
            where = escape(str(running.data))
            out.print(f"MoneyPrinter is ready at [bold]{running.url}[/] (data in {where}; Ctrl-C stops it)")
            running.failed.add_done_callback(lambda _: stop.set())
            await stop.wait()
            if running.failed.done():
                running.failed.result()
            out.print("Stopping ...")
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    # A gRPC server that was interrupted during its start needs a running loop when it is garbage-collected.
    gc.collect()
    await asyncio.sleep(0)
    return 0


def _print_first_account(file: Path | None) -> None:
    import json

    if file is not None:
        account = json.loads(file.read_text())
        out.print(
            f"First account: [bold]{escape(account['username'])}[/], password:"
            f" [bold]{escape(account['password'])}[/] (stored in {escape(str(file))})"
        )


@app.command(
    epilog="Examples: [bold]moneyprinter serve user[/] · [bold]moneyprinter serve storage config[/]. Settings come from"
    " the environment: MONEYPRINTER_RUNTIME_..., MONEYPRINTER_USER_... and so on."
)
def serve(
    services: Annotated[list[str], typer.Argument(metavar="SERVICE...", help="The services, for example `user`.")],
) -> None:
    """Run one or more services, as a container does. After SIGTERM, calls in progress finish first."""
    from services.runtime.config import CLUSTER_SERVICES, SERVICES, ConfigError

    for service in services:
        if service not in (known := (*SERVICES, *CLUSTER_SERVICES)):
            raise ConfigError(f"there is no service {service}; the services are: {', '.join(known)}")
    asyncio.run(_serve(list(dict.fromkeys(services))))


async def _serve(services: list[str]) -> None:
    from services.runtime import server, telemetry
    from services.runtime.config import RuntimeConfig
    from services.runtime.layers import load

    config = load(RuntimeConfig)
    telemetry.configure(config)
    stop = asyncio.Event()
    handle_signals(stop.set)
    await server.serve(services, config, stop)


@app.command(epilog="Examples: [bold]moneyprinter doctor[/] · [bold]moneyprinter doctor --data /tmp/try[/]")
def doctor(
    data: Annotated[
        Path | None,
        typer.Option(help="The platform's data folder.", show_default="~/.local/share/moneyprinter"),
    ] = None,
    brief: Annotated[bool, typer.Option("--brief", help="Print only failed checks and a summary.")] = False,
) -> None:
    """Check that this machine has everything that the platform needs. Exits with 1 when a check fails."""
    from services.embedded import checks, data_folder

    results = list(checks.run_checks(data or data_folder.default_folder()))
    for check in results:
        if not (brief and check.passed):
            mark = "[green]ok[/]    " if check.passed else "[bold red]failed[/]"
            out.print(f"{mark} {check.name:12} {escape(check.detail)}")
    failed = [check for check in results if not check.passed]
    out.print(f"{len(results) - len(failed)} of {len(results)} checks passed")
    raise typer.Exit(1 if failed else 0)
