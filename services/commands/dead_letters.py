"""The commands `moneyprinter deadletter ...`, for jobs that failed for good."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from services.commands.targets import parse_target
from services.commands.terminal import DataOption, out

app = typer.Typer(help="Jobs that failed for good: list them, show their attempts, retry them.", no_args_is_help=True)


@app.command("list", epilog="Example: [bold]moneyprinter deadletter list[/]")
def list_dead_letters(data: DataOption = None) -> None:
    """List failed jobs, newest first."""
    from services.commands.actions import dead_letters

    asyncio.run(dead_letters.show_dead_letters(parse_target(data), out))


@app.command("show", epilog="Example: [bold]moneyprinter deadletter show vid_12345abc[/]")
def show_dead_letter(job: Annotated[str, typer.Argument(help="The job id.")], data: DataOption = None) -> None:
    """Show why a job failed, and its attempts."""
    from services.commands.actions import dead_letters

    asyncio.run(dead_letters.show_dead_letter(parse_target(data), job, out))


@app.command("retry", epilog="Example: [bold]moneyprinter deadletter retry vid_12345abc[/]")
def retry_dead_letter(job: Annotated[str, typer.Argument(help="The job id.")], data: DataOption = None) -> None:
    """Continue a failed job from the step that failed."""

    from services.commands.actions import videos

    asyncio.run(videos.retry_video(parse_target(data), job, out))
