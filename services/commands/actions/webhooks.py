"""Webhooks from the command line: list, add, rotate and remove them, and replay their deliveries."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from moneyprinter.video.v1 import webhook_service_pb2 as hooks
from services.commands.actions.sessions import open_client
from services.commands.targets import Target


async def show_webhooks(target: Target, webhook_id: str, status: str, console: Console, *, wide: bool = False) -> None:
    """Print the webhooks, and a page of the latest deliveries; with `wide`, also their jobs, attempts and times."""
    table = Table(Column("webhook", no_wrap=True, min_width=20), "address", "events", "state")
    columns = ("delivery", "event", "status", *(("job", "attempts", "created at") if wide else ()))
    deliveries = Table(*(Column(name, no_wrap=True) for name in columns))
    async with open_client(target) as client:
        for webhook in (await client.webhooks.ListWebhooks(hooks.ListWebhooksRequest(page_size=100))).webhooks:
            types = ", ".join(kind.rpartition(".")[2] for kind in webhook.event_types) or "all"
            state = f"disabled since {webhook.disable_time}" if webhook.disable_time else "enabled"
            table.add_row(webhook.webhook_id, escape(webhook.url) or "the webhook_url of requests", types, state)
        request = hooks.ListWebhookDeliveriesRequest(webhook_id=webhook_id, status=status)
        for each in (await client.webhooks.ListWebhookDeliveries(request)).deliveries:
            kind = each.event_type.rpartition(".")[2]
            more = (each.job_id, str(each.attempt_count), each.create_time) if wide else ()
            deliveries.add_row(each.delivery_id, kind, each.status, *more)
    console.print(table if table.row_count else "There are no webhooks.")
    console.print(deliveries if deliveries.row_count else "There are no deliveries.")


async def add_webhook(target: Target, url: str, event_types: Sequence[str], console: Console) -> None:
    """Add a webhook and print its secret."""
    async with open_client(target) as client:
        response = await client.webhooks.CreateWebhook(hooks.CreateWebhookRequest(url=url, event_types=event_types))
    _print_secret(response.webhook, response.secret, console)


async def rotate_webhook(target: Target, webhook_id: str, console: Console) -> None:
    """Create a new secret and print it."""
    async with open_client(target) as client:
        response = await client.webhooks.RotateWebhookSecret(hooks.RotateWebhookSecretRequest(webhook_id=webhook_id))
    _print_secret(response.webhook, response.secret, console)


def _print_secret(webhook: hooks.Webhook, secret: str, console: Console) -> None:
    where = escape(webhook.url) or "the webhook_url of requests"
    console.print(f"{webhook.webhook_id} posts to {where}. Its secret (not shown again):")
    console.print(secret, soft_wrap=True)


async def remove_webhook(target: Target, webhook_id: str, console: Console) -> None:
    """Remove a webhook."""
    async with open_client(target) as client:
        await client.webhooks.DeleteWebhook(hooks.DeleteWebhookRequest(webhook_id=webhook_id))
    console.print(f"{escape(webhook_id)} is removed")


async def show_delivery(target: Target, delivery_id: str, console: Console) -> None:
    """Print a delivery and the response to each attempt."""
    async with open_client(target) as client:
        request = hooks.GetWebhookDeliveryRequest(delivery_id=delivery_id)
        delivery = (await client.webhooks.GetWebhookDelivery(request)).delivery
    when = f", next at {delivery.next_time}" if delivery.next_time else ""
    console.print(f"[bold]{delivery.event_id}[/] to {escape(delivery.url)} is {delivery.status}{when}")
    for attempt in delivery.attempts:
        outcome = escape(attempt.error) or f"HTTP status {attempt.http_status}"
        console.print(f"  {attempt.time}, {attempt.seconds:.2f} s: {outcome}")
    console.print(escape(delivery.body), soft_wrap=True)


async def replay_delivery(target: Target, delivery_id: str, console: Console) -> None:
    """Deliver an event again."""
    async with open_client(target) as client:
        request = hooks.ReplayWebhookDeliveryRequest(delivery_id=delivery_id)
        delivery = (await client.webhooks.ReplayWebhookDelivery(request)).delivery
    console.print(f"{delivery.event_id} is posted to {escape(delivery.url)} again")
