"""A receiver of webhooks on this machine, which verifies and shows each event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from rich.console import Console
from rich.markup import escape
from standardwebhooks import Webhook, WebhookVerificationError

from moneyprinter import errors
from moneyprinter.video.v1 import webhook_service_pb2 as pb
from services.commands.actions.sessions import open_client
from services.commands.targets import Target
from services.embedded.errors import PlatformError

HOST = "127.0.0.1"
MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 1024 * 1024

Receiver = Callable[[Mapping[str, str], bytes], int]


async def receive_webhooks(target: Target, port: int, console: Console) -> None:
    """Add a webhook for this machine, and print its events until cancelled. Removes the webhook afterwards.

    Raises `PlatformError` when the platform refuses local addresses, or the port is in use.
    """
    secret = ""

    def receive(headers: Mapping[str, str], body: bytes) -> int:
        try:
            Webhook(secret).verify(body, dict(headers))
        except (WebhookVerificationError, ValueError, KeyError):
            console.print("[bold red]Refused a post with a wrong signature[/]: it does not come from the platform")
            return 401
        _print_event(body, console)
        return 204

    async with open_client(target) as client, _serve_posts(port, receive) as bound:
        url = f"http://{HOST}:{bound}/"
        try:
            created = await client.webhooks.CreateWebhook(pb.CreateWebhookRequest(url=url))
        except errors.InvalidArgument as refusal:
            if refusal.reason != "WEBHOOK_ADDRESS_REFUSED":
                raise
            raise PlatformError(
                f"this platform posts no webhooks to this machine; start it with:"
                f" moneyprinter up --allow-local ({refusal})"
            ) from None
        secret = created.secret
        console.print(f"Events are posted to [bold]{url}[/] and shown here (Ctrl-C stops it)")
        try:
            await asyncio.Event().wait()
        finally:
            with suppress(errors.Error):
                await client.webhooks.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=created.webhook.webhook_id))


def _print_event(body: bytes, console: Console) -> None:
    event = json.loads(body)
    payload = json.dumps(event.get("payload", {}), ensure_ascii=False)
    console.print(
        f"{escape(str(event.get('timestamp', '')))} [bold]{escape(str(event.get('event_type', '')))}[/]"
        f" {escape(str(event.get('job_id', '')))} {escape(payload)}"
    )


@asynccontextmanager
async def _serve_posts(port: int, receive: Receiver) -> AsyncIterator[int]:
    """Serve HTTP posts on loopback while the context is open. Yields the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            status = await _handle_request(reader, receive)
            writer.write(f"HTTP/1.1 {status} \r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(serve, HOST, port, limit=MAX_HEAD_BYTES)
    except OSError as failure:
        raise PlatformError(f"cannot listen on port {port}: {failure.strerror}; choose another --port") from None
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _handle_request(reader: asyncio.StreamReader, receive: Receiver) -> int:
    """Read one request. Returns the HTTP status of its response."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    if not lines[0].startswith("POST "):
        return 405
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = headers.get("content-length", "")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        return 413
    return receive(headers, await reader.readexactly(int(length)))
