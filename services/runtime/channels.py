"""Channels: mTLS channels to other services, whose calls end before the deadline of the call that is being served."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import grpc

from moneyprinter import calls, contract
from services.runtime import authorizer, identity, telemetry, tls
from services.runtime.config import RuntimeConfig

# Each hop reserves this part of its caller's deadline, to report why it was too slow.
MARGIN_SECONDS = 0.1

OPTIONS = (
    # A coded frame of the encoder is one message; captions of an hour, each word highlighted, are some megabytes.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # A connection to a hung server is closed within half a minute. Servers allow one ping every 20 s.
    ("grpc.keepalive_time_ms", 25_000),
    ("grpc.keepalive_timeout_ms", 8_000),
    # When a bandwidth ping is in flight, keepalive waits for that one, under this separate limit.
    ("grpc.http2.ping_timeout_ms", 8_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Services connect directly: an HTTP proxy in the environment is for external traffic.
    ("grpc.enable_http_proxy", 0),
    # Every channel has its own connections, so that closing one service does not affect another one.
    ("grpc.use_local_subchannel_pool", 1),
)

# A channel checks at most this often whether its certificate was renewed.
RELOAD_SECONDS = 1.0

_deadline: ContextVar[float] = ContextVar("deadline", default=float("inf"))


def set_deadline(seconds: float) -> None:
    """Set the deadline of the call that this task serves, in seconds from now; calls that it makes end before."""
    _deadline.set(time.monotonic() + seconds)


def _shorten(seconds: float) -> float:
    left = _deadline.get() - time.monotonic() - MARGIN_SECONDS
    return max(0.001, min(seconds, left))


def _metadata() -> calls.Metadata:
    trace = (telemetry.TRACEPARENT, telemetry.traceparent())
    client = identity.client()
    return (trace, (authorizer.CLIENT, client)) if client else (trace,)


def _target(config: RuntimeConfig, service: str) -> str:
    """Return the gRPC target of a service: a name, which may resolve to many instances, or the list of addresses."""
    addresses = config.addresses(service)
    return addresses[0] if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"


def connect(config: RuntimeConfig, caller: str, service: str, contract_name: str) -> calls.TypedChannel:
    """Open a channel from `caller` to `service` (both service names), whose server must have that identity.

    `contract_name` is the full name of the called gRPC service, whose access rules decide which calls are retried.
    Raises `ConfigError` when the caller's certificate is not usable.
    """
    files = tls.CertificateReloader(tls.find_certificates(config, caller))
    options = (
        *OPTIONS,
        # The certificate holds a SPIFFE id and a DNS name; an IP address is no identity.
        ("grpc.ssl_target_name_override", tls.server_name(config, service)),
        ("grpc.service_config", contract.service_config(contract_name)),
    )
    target = _target(config, service)
    renewing = RenewingChannel(
        files, lambda: grpc.aio.secure_channel(target, files.current.channel_credentials(), options)
    )
    return calls.TypedChannel(renewing, _metadata, _shorten)


class RenewingChannel(grpc.aio.Channel):
    """A channel that uses the newest certificate; a gRPC channel keeps the one with which it was opened.

    After a renewal, new calls use a new channel. Calls in progress continue on the old channel, which closes its
    connection when it is idle.
    """

    def __init__(self, files: tls.CertificateReloader, open_channel: Callable[[], grpc.aio.Channel]) -> None:
        self._files = files
        self._open = open_channel
        self._channels = [open_channel()]
        self._checked = time.monotonic()

    @property
    def _newest(self) -> grpc.aio.Channel:
        if time.monotonic() - self._checked >= RELOAD_SECONDS:
            self._checked = time.monotonic()
            if self._files.reload():
                self._channels.append(self._open())
        return self._channels[-1]

    def _multicallable(self, kind: str, method: str, serializer: Any, deserializer: Any) -> Any:
        """Return a callable of a method that uses the newest channel for each call."""
        multicallables: dict[int, Any] = {}

        def call(*request: Any, **options: Any) -> Any:
            channel = self._newest
            if id(channel) not in multicallables:
                make = getattr(channel, kind)
                multicallables[id(channel)] = make(
                    method, request_serializer=serializer, response_deserializer=deserializer
                )
            return multicallables[id(channel)](*request, **options)

        return call

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._multicallable("unary_unary", method, request_serializer, response_deserializer)

    def stream_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._multicallable("stream_unary", method, request_serializer, response_deserializer)

    def unary_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._multicallable("unary_stream", method, request_serializer, response_deserializer)

    def stream_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._multicallable("stream_stream", method, request_serializer, response_deserializer)

    async def __aenter__(self) -> RenewingChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Close the channel; calls in progress are cancelled after `grace` seconds."""
        for channel in self._channels:
            await channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._newest.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._newest.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the channel is connected."""
        await self._newest.channel_ready()
