"""Terminal: what all commands share: where they print, the platform's folder, and how they are interrupted."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import typer
from rich.console import Console

INTERRUPTED = 130

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

Data = Annotated[
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


def until_interrupted(work: Coroutine[Any, Any, None]) -> None:
    """Run `work`; SIGINT and SIGTERM cancel it, so that it stops what it started."""

    async def run() -> None:
        task = asyncio.ensure_future(work)
        on_signals(task.cancel)
        await task

    try:
        asyncio.run(run())
    except asyncio.CancelledError:
        sys.exit(INTERRUPTED)


def on_signals(act: Callable[[], object]) -> None:
    """Call `act` when the process is told to stop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, act)
