"""Events: a connection to NATS as this workload, and lifecycle events as the JSON that is published."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import nats
import nats.errors
import structlog
from google.protobuf import json_format
from google.protobuf.message import Message
from nats.aio.client import Client

from services.runtime import tls
from services.runtime.config import RuntimeConfig

log = structlog.get_logger()


@asynccontextmanager
async def connect(config: RuntimeConfig, service: str, url: str) -> AsyncIterator[Client]:
    """Connect to NATS at `url` (`tls://host:port`) with the certificate of `service`; reconnects after outages."""

    certificates = tls.find_certificates(config, service)
    context = certificates.client_context()

    def renew() -> None:
        """Load the newest certificate for the next connection, or keep the old one while files are being replaced."""
        with suppress(OSError, ValueError):
            certificates.read()
            certificates.load(context)

    async def disconnected() -> None:
        log.warning("nats disconnected", service=service)
        renew()

    async def reconnected() -> None:
        log.info("nats reconnected", service=service)

    async def failed(failure: Exception) -> None:
        log.warning("nats error", service=service, error=str(failure) or type(failure).__name__)
        renew()

    client = await nats.connect(
        url,
        name=service,
        tls=context,
        tls_hostname=tls.server_name(config, "nats"),
        tls_handshake_first=True,
        inbox_prefix=f"_INBOX.{service}".encode(),
        allow_reconnect=True,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.25,
        connect_timeout=5,
        disconnected_cb=disconnected,
        reconnected_cb=reconnected,
        error_cb=failed,
    )
    try:
        yield client
    finally:
        # When the server is gone, nats-py raises various exceptions while closing.
        with suppress(nats.errors.Error, OSError, AttributeError):
            await client.close()


async def until_subscribed(client: Client, timeout_seconds: int = 5) -> None:
    """Wait until the server has every subscription made so far. Raises `nats.errors.Error` when it is unreachable.

    nats-py sends the PING of a flush ahead of the queue in which a SUB may wait. The PING of a second flush comes after
    both.
    """
    await client.flush(timeout_seconds)
    await client.flush(timeout_seconds)


def encode(event: Message) -> bytes:
    """Return an event as published: JSON with the contract's field names, and integral numbers without a fraction."""
    fields = json_format.MessageToDict(
        event, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return json.dumps(_to_integers(fields), ensure_ascii=False, separators=(",", ":")).encode()


def _to_integers(value: Any) -> Any:
    match value:
        case dict():
            return {name: _to_integers(item) for name, item in value.items()}
        case float() if value.is_integer():
            return int(value)
    return value
