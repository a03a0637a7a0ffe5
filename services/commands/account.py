"""The commands for the account: `moneyprinter settings`, `retention` and `usage`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from services.commands.targets import parse_target
from services.commands.terminal import DataOption, out

app = typer.Typer()


@app.command(epilog="Examples: [bold]moneyprinter settings[/] · [bold]moneyprinter settings --retention-days 30[/]")
def settings(
    retention_days: Annotated[
        int | None,
        typer.Option(
            min=0, max=3650, help="The number of days that videos and uploads are kept; 0: until they are deleted."
        ),
    ] = None,
    data: DataOption = None,
) -> None:
    """Show or change the settings of your account."""
    from services.commands.actions import account

    asyncio.run(account.show_retention(parse_target(data), retention_days, out))


@app.command(epilog="Examples: [bold]moneyprinter retention[/] · [bold]moneyprinter retention 30[/]")
def retention(
    days: Annotated[
        int | None, typer.Argument(min=0, max=3650, help="The number of days; 0: until they are deleted.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Show or set how long your videos and uploads are kept."""
    from services.commands.actions import account

    asyncio.run(account.show_retention(parse_target(data), days, out))


@app.command(epilog="Example: [bold]moneyprinter usage[/]")
def usage(data: DataOption = None) -> None:
    """Show the usage and the limits of your account."""
    from services.commands.actions import account

    asyncio.run(account.show_usage(parse_target(data), out))
