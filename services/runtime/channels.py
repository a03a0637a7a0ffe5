"""Channels: how a service calls another one, as itself, within the deadline of the call that it serves."""

from __future__ import annotations

import time
from contextvars import ContextVar

import grpc

from moneyprinter import calls, contract
from services.runtime import telemetry, tls
from services.runtime.config import RuntimeConfig

# What one hop keeps of its caller's deadline, so that it can still say why it was too slow.
MARGIN_SECONDS = 0.1

OPTIONS = (
    # A coded frame of the encoder is one message; captions of an hour, each word highlighted, are some megabytes.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # A server that hangs, with its connections open, is given up within half a minute. Servers allow a ping in 20 s.
    ("grpc.keepalive_time_ms", 25_000),
    ("grpc.keepalive_timeout_ms", 8_000),
    # A ping that measures the line may be under way already: keepalive then waits for that one, by its own limit.
    ("grpc.http2.ping_timeout_ms", 8_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Services meet each other directly: a proxy that the environment names is for the world outside.
    ("grpc.enable_http_proxy", 0),
    # Every channel has connections of its own, so that closing one service does not touch another's.
    ("grpc.use_local_subchannel_pool", 1),
)

_served_until: ContextVar[float] = ContextVar("served_until", default=float("inf"))


def serve_until(seconds_from_now: float) -> None:
    """Let the calls that this task makes end before the call that it serves does."""
    _served_until.set(time.monotonic() + seconds_from_now)


def _shorten(seconds: float) -> float:
    left = _served_until.get() - time.monotonic() - MARGIN_SECONDS
    return max(0.001, min(seconds, left))


def _metadata() -> calls.Metadata:
    return ((telemetry.TRACEPARENT, telemetry.traceparent()),)


def _target(config: RuntimeConfig, service: str) -> str:
    """What gRPC resolves: a name, which may stand for many instances, or the addresses of all of them."""
    addresses = config.addresses(service)
    return addresses[0] if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"


def connect(config: RuntimeConfig, caller: str, service: str, contract_name: str) -> calls.TypedChannel:
    """Open a channel from `caller` to `service` (both service names), whose server must show that identity.

    `contract_name` is the full name of the gRPC service that is called; its rules say what is repeated.
    """
    found = tls.certificates(config, caller)
    options = (
        *OPTIONS,
        # The certificate names a SPIFFE id and its service as DNS name; an address is no identity.
        ("grpc.ssl_target_name_override", tls.server_name(config, service)),
        ("grpc.service_config", contract.service_config(contract_name)),
    )
    channel = grpc.aio.secure_channel(_target(config, service), found.channel(), options)
    return calls.TypedChannel(channel, _metadata, _shorten)
