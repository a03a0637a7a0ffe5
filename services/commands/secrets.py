"""The commands `moneyprinter secrets ...`, for administrators."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from services.commands.targets import parse_target
from services.commands.terminal import DataOption, out

app = typer.Typer(
    help="The secrets and keys of the platform: list, read, replace and rotate them. For administrators.",
    no_args_is_help=True,
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="For example content/providers.")]


@app.command("list", epilog="Example: [bold]moneyprinter secrets list[/]")
def list_secrets(
    due: Annotated[bool, typer.Option("--due", help="Only those that are due for rotation.")] = False,
    data: DataOption = None,
) -> None:
    """List the secrets and keys with their age and schedule, without values."""
    from services.commands.actions import secrets

    asyncio.run(secrets.list_secrets(parse_target(data), out, only_due=due))


@app.command(epilog="Example: [bold]moneyprinter secrets get content/providers > providers.json[/]")
def get(name: NameArgument, data: DataOption = None) -> None:
    """Print the value of a secret that operators write. The audit log records it."""
    from services.commands.actions import secrets

    # Not by the console, which would wrap and style it.
    typer.echo(asyncio.run(secrets.read_secret(parse_target(data), name)))


@app.command(
    epilog="Examples: [bold]moneyprinter secrets put content/providers providers.json[/] ·"
    " [bold]moneyprinter secrets put audio/settings - < settings.json[/]"
)
def put(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file with a JSON object; -: standard input.")],
    data: DataOption = None,
) -> None:
    """Write a new version of a secret. Services use it within seconds, settings after their next start."""
    from services.commands.actions import secrets

    asyncio.run(secrets.replace_secret(parse_target(data), name, file, out))


@app.command(epilog="Examples: [bold]moneyprinter secrets rotate storage/objects[/]")
def rotate(name: NameArgument, data: DataOption = None) -> None:
    """Rotate a key, while requests run."""
    from services.commands.actions import secrets

    asyncio.run(secrets.rotate_secret(parse_target(data), name, out))


@app.command(epilog="Example: [bold]moneyprinter secrets history content/providers[/]")
def history(
    name: NameArgument,
    limit: Annotated[int, typer.Option(help="The largest number of accesses.", min=1)] = 20,
    data: DataOption = None,
) -> None:
    """List the versions of a secret or a key, and the latest accesses in the audit log."""
    from services.commands.actions import secrets

    asyncio.run(secrets.show_history(parse_target(data), name, limit, out))
