"""The commands `moneyprinter webhooks ...`, for webhooks and their deliveries."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from services.commands.targets import parse_target
from services.commands.terminal import DataOption, out, run_until_interrupted

app = typer.Typer(
    help="Addresses that receive signed events: list, add and remove them, show and replay deliveries.",
    no_args_is_help=True,
)


@app.command(
    "list",
    epilog="Examples: [bold]moneyprinter webhooks list[/] · [bold]moneyprinter webhooks list --status failed[/]",
)
def list_webhooks(
    webhook: Annotated[str, typer.Option(help="Only deliveries to this webhook id.")] = "",
    status: Annotated[str, typer.Option(help="Only deliveries that are pending, delivered, failed or gone.")] = "",
    wide: Annotated[bool, typer.Option("--wide", help="List the job, attempts and time of each delivery.")] = False,
    data: DataOption = None,
) -> None:
    """List the webhooks and the latest deliveries, newest first."""
    from services.commands.actions import webhooks

    asyncio.run(webhooks.show_webhooks(parse_target(data), webhook, status, out, wide=wide))


@app.command(
    "add",
    epilog="Examples: [bold]moneyprinter webhooks add https://example.com/hook[/] · [bold]moneyprinter webhooks add"
    " https://example.com/hook --event video.processing.completed --event video.processing.failed[/] ·"
    " [bold]moneyprinter webhooks add[/] (for the webhook_url of requests)",
)
def add_webhook(
    url: Annotated[
        str, typer.Argument(help="An https:// address. Without it: the webhook for the webhook_url of requests.")
    ] = "",
    event: Annotated[list[str] | None, typer.Option(help="Only events of this type. Without it: all events.")] = None,
    data: DataOption = None,
) -> None:
    """Add a webhook and print the secret that signs its events. The secret is not shown again."""
    from services.commands.actions import webhooks

    asyncio.run(webhooks.add_webhook(parse_target(data), url, event or [], out))


@app.command(
    "listen",
    epilog="Example: [bold]moneyprinter up --allow-local[/] in one terminal, [bold]moneyprinter webhooks listen[/] in"
    " another.",
)
def listen_for_webhooks(
    port: Annotated[int, typer.Option(help="The port to listen on; 0: any free port.", min=0)] = 0,
    data: DataOption = None,
) -> None:
    """Receive the events of your videos on this machine, verify and show them, until Ctrl-C."""
    from services.commands.actions import webhook_receiver

    run_until_interrupted(webhook_receiver.receive_webhooks(parse_target(data), port, out))


@app.command("rotate", epilog="Example: [bold]moneyprinter webhooks rotate whk_12345abc[/]")
def rotate_webhook(webhook: Annotated[str, typer.Argument(help="The webhook id.")], data: DataOption = None) -> None:
    """Create a new secret and print it. The old one stays valid for a day. A disabled webhook is enabled again."""
    from services.commands.actions import webhooks

    asyncio.run(webhooks.rotate_webhook(parse_target(data), webhook, out))


@app.command("remove", epilog="Example: [bold]moneyprinter webhooks remove whk_12345abc[/]")
def remove_webhook(webhook: Annotated[str, typer.Argument(help="The webhook id.")], data: DataOption = None) -> None:
    """Remove a webhook and the record of its deliveries."""
    from services.commands.actions import webhooks

    asyncio.run(webhooks.remove_webhook(parse_target(data), webhook, out))


@app.command("show", epilog="Example: [bold]moneyprinter webhooks show dlv_12345abc[/]")
def show_delivery(delivery: Annotated[str, typer.Argument(help="The delivery id.")], data: DataOption = None) -> None:
    """Show a delivery and the response to each attempt."""
    from services.commands.actions import webhooks

    asyncio.run(webhooks.show_delivery(parse_target(data), delivery, out))


@app.command("replay", epilog="Example: [bold]moneyprinter webhooks replay dlv_12345abc[/]")
def replay_delivery(delivery: Annotated[str, typer.Argument(help="The delivery id.")], data: DataOption = None) -> None:
    """Deliver an event again, immediately."""
    from services.commands.actions import webhooks

    asyncio.run(webhooks.replay_delivery(parse_target(data), delivery, out))
