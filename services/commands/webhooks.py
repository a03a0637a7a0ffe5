"""Webhooks: the commands `moneyprinter webhooks ...`: where events are posted, and what became of it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from services.commands.targets import parse_target
from services.commands.terminal import Data, out, until_interrupted

app = typer.Typer(
    help="Addresses that events are posted to, signed: list them and what was posted, add one, post something again.",
    no_args_is_help=True,
)


@app.command(
    "list",
    epilog="Examples: [bold]moneyprinter webhooks list[/] · [bold]moneyprinter webhooks list --status failed[/]",
)
def list_webhooks(
    webhook: Annotated[str, typer.Option(help="Only what was posted to this one.")] = "",
    status: Annotated[str, typer.Option(help="Only what is pending, delivered, failed or gone.")] = "",
    data: Data = None,
) -> None:
    """List the addresses, and what was posted to them last, newest first."""
    from services.commands import control

    asyncio.run(control.show_webhooks(parse_target(data), webhook, status, out))


@app.command(
    "add",
    epilog="Examples: [bold]moneyprinter webhooks add https://example.com/hook[/] · [bold]moneyprinter webhooks add"
    " https://example.com/hook --event video.processing.completed --event video.processing.failed[/] ·"
    " [bold]moneyprinter webhooks add[/] (for the webhook_url of single requests)",
)
def add_webhook(
    url: Annotated[
        str, typer.Argument(help="An https:// address. Without it: for those that single requests name.")
    ] = "",
    event: Annotated[list[str] | None, typer.Option(help="Only events of this type; all without it.")] = None,
    data: Data = None,
) -> None:
    """Have events posted to an address, and print the secret that they are signed with. It is not shown again."""
    from services.commands import control

    asyncio.run(control.add_webhook(parse_target(data), url, event or [], out))


@app.command(
    "listen",
    epilog="Example: [bold]moneyprinter up --allow-local[/] in one terminal, [bold]moneyprinter webhooks listen[/] in"
    " another.",
)
def listen_for_webhooks(
    port: Annotated[int, typer.Option(help="The port that is listened on; 0: any free one.", min=0)] = 0,
    data: Data = None,
) -> None:
    """Receive the events of your videos on this machine and show them, their signatures verified, until Ctrl-C."""
    from services.commands import receiver

    until_interrupted(receiver.listen(parse_target(data), port, out))


@app.command("rotate", epilog="Example: [bold]moneyprinter webhooks rotate whk_12345abc[/]")
def rotate_webhook(webhook: Annotated[str, typer.Argument(help="The webhook.")], data: Data = None) -> None:
    """Make a new secret and print it; for a day the old one is good too. A webhook that was gone is used again."""
    from services.commands import control

    asyncio.run(control.rotate_webhook(parse_target(data), webhook, out))


@app.command("remove", epilog="Example: [bold]moneyprinter webhooks remove whk_12345abc[/]")
def remove_webhook(webhook: Annotated[str, typer.Argument(help="The webhook.")], data: Data = None) -> None:
    """Have nothing posted to an address any more, and forget what was."""
    from services.commands import control

    asyncio.run(control.remove_webhook(parse_target(data), webhook, out))


@app.command("show", epilog="Example: [bold]moneyprinter webhooks show dlv_12345abc[/]")
def show_delivery(delivery: Annotated[str, typer.Argument(help="What was posted.")], data: Data = None) -> None:
    """Show what was posted, and what was answered each time."""
    from services.commands import control

    asyncio.run(control.show_delivery(parse_target(data), delivery, out))


@app.command("replay", epilog="Example: [bold]moneyprinter webhooks replay dlv_12345abc[/]")
def replay_delivery(delivery: Annotated[str, typer.Argument(help="What was posted.")], data: Data = None) -> None:
    """Post an event again, at once."""
    from services.commands import control

    asyncio.run(control.replay_delivery(parse_target(data), delivery, out))
