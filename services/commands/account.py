"""The commands for the account: `moneyprinter settings`, `retention`, `usage` and `cost-limit`."""

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
    pronounce: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD=SPOKEN",
            help="What is spoken for a word in all videos, such as nginx='engine x', or de:GIF=Dschif for German"
            " voices; repeatable.",
        ),
    ] = None,
    forget: Annotated[
        list[str] | None, typer.Option(metavar="WORD", help="A word whose pronunciation is removed; repeatable.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Show or change the settings of your account."""
    from services.commands.actions import account

    changes = account.parse_lexicon_changes(pronounce or [], forget or [])
    asyncio.run(account.show_settings(parse_target(data), retention_days, changes, out))


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


@app.command(
    name="cost-limit",
    epilog="Examples: [bold]moneyprinter cost-limit user_12345abc 20[/] ·"
    " [bold]moneyprinter cost-limit user_12345abc[/]",
)
def cost_limit(
    account: Annotated[str, typer.Argument(help="The account id.")],
    amount: Annotated[
        float | None,
        typer.Argument(min=0, help="The amount; 0: no provider that charges. Without it, that of the platform."),
    ] = None,
    data: DataOption = None,
) -> None:
    """Set what providers may charge for an account in a month, as an administrator."""
    from services.commands.actions import account as accounts

    asyncio.run(accounts.set_cost_limit(parse_target(data), account, amount, out))
