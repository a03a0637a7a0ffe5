"""The console, the option `--data`/`--url`, secrets and the signal handling that all commands share."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import typer
from rich.console import Console

from services.entry import INTERRUPTED

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        "--url",
        envvar="MONEYPRINTER_PLATFORM",
        metavar="FOLDER|URL",
        help="The platform: its folder on this machine, or its address after `moneyprinter login`.",
        show_default="~/.local/share/moneyprinter",
    ),
]


def run_until_interrupted(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end. SIGINT and SIGTERM cancel it, so that it stops the processes it started."""

    async def run() -> None:
        task = asyncio.ensure_future(work)
        handle_signals(task.cancel)
        await task

    try:
        asyncio.run(run())
    except asyncio.CancelledError:
        sys.exit(INTERRUPTED)


def handle_signals(handler: Callable[[], object]) -> None:
    """Call `handler` on SIGINT and SIGTERM."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handler)


def read_secret(name: str) -> str:
    """Prompt for a secret without echo, or read a line of standard input when that is not a terminal."""
    text = typer.prompt(name, hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    return str(text).strip()
