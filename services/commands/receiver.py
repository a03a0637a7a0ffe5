"""A receiver of webhooks on this machine: it shows what is posted, and whether its signature is right."""

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
from services.commands.sessions import signed_in
from services.commands.targets import Target
from services.embedded.errors import PlatformError

HOST = "127.0.0.1"
MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 1024 * 1024

Receive = Callable[[Mapping[str, str], bytes], int]


async def listen(target: Target, port: int, console: Console) -> None:
    """Have the events of the account posted to this machine, and print them, until cancelled."""
    secret = ""

    def receive(headers: Mapping[str, str], body: bytes) -> int:
        try:
            Webhook(secret).verify(body, dict(headers))
        except (WebhookVerificationError, ValueError, KeyError):
            console.print(
                "[bold red]A post whose signature is wrong[/] was refused: it does not come from the platform"
            )
            return 401
        _print_event(body, console)
        return 204

    async with signed_in(target) as client, _serving(port, receive) as bound:
        url = f"http://{HOST}:{bound}/"
        try:
            made = await client.webhooks.CreateWebhook(pb.CreateWebhookRequest(url=url))
        except errors.InvalidArgument as refused:
            if refused.reason != "WEBHOOK_ADDRESS_REFUSED":
                raise
            raise PlatformError(
                f"this platform posts nothing to this machine; start it with: moneyprinter up --allow-local ({refused})"
            ) from None
        secret = made.secret
        console.print(f"Events are posted to [bold]{url}[/] and shown here (Ctrl-C stops it)")
        try:
            await asyncio.Event().wait()
        finally:
            with suppress(errors.Error):
                await client.webhooks.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=made.webhook.webhook_id))


def _print_event(body: bytes, console: Console) -> None:
    event = json.loads(body)
    payload = json.dumps(event.get("payload", {}), ensure_ascii=False)
    console.print(
        f"{escape(str(event.get('timestamp', '')))} [bold]{escape(str(event.get('event_type', '')))}[/]"
        f" {escape(str(event.get('job_id', '')))} {escape(payload)}"
    )


@asynccontextmanager
async def _serving(port: int, receive: Receive) -> AsyncIterator[int]:
    """Serve HTTP posts on loopback while the context is open; yields the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            status = await _answer(reader, receive)
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


async def _answer(reader: asyncio.StreamReader, receive: Receive) -> int:
    """Read one request; the HTTP status of its answer."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    if not lines[0].startswith("POST "):
        return 405
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = headers.get("content-length", "")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        return 413
    return receive(headers, await reader.readexactly(int(length)))
