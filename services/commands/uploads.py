"""The commands for uploads: `moneyprinter upload` and `moneyprinter uploads ...`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from services.commands.targets import parse_target
from services.commands.terminal import DataOption, out, run_until_interrupted

app = typer.Typer()


@app.command(epilog="Example: [bold]moneyprinter upload walk.mp4 sea.mp4[/]")
def upload(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Videos and images.")],
    data: DataOption = None,
) -> None:
    """Upload files, and print the asset ids for use in requests."""
    from services.commands.actions import uploads

    run_until_interrupted(uploads.upload_files(parse_target(data), files, out))


uploads = typer.Typer(help="List and delete uploaded files.", no_args_is_help=True)

app.add_typer(uploads, name="uploads")


@uploads.command("list", epilog="Example: [bold]moneyprinter uploads list[/]")
def list_uploads(data: DataOption = None) -> None:
    """List uploaded files, newest first."""
    from services.commands.actions import uploads

    asyncio.run(uploads.show_uploads(parse_target(data), out))


@uploads.command("delete", epilog="Example: [bold]moneyprinter uploads delete ast_12345abc[/]")
def delete_upload(upload: Annotated[str, typer.Argument(help="The asset id.")], data: DataOption = None) -> None:
    """Delete an uploaded file. Videos made from it stay."""
    from services.commands.actions import uploads

    asyncio.run(uploads.delete_upload(parse_target(data), upload, out))
