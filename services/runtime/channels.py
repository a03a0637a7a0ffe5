"""Channels: how a service calls another one, as itself, within the deadline of the call that it serves."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import grpc

from moneyprinter import calls, contract
from services.runtime import access, telemetry, tls
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

# How often, at most, a channel looks whether its certificate was renewed.
LOOK_SECONDS = 1.0

_served_until: ContextVar[float] = ContextVar("served_until", default=float("inf"))


def serve_until(seconds_from_now: float) -> None:
    """Let the calls that this task makes end before the call that it serves does."""
    _served_until.set(time.monotonic() + seconds_from_now)


def _shorten(seconds: float) -> float:
    left = _served_until.get() - time.monotonic() - MARGIN_SECONDS
    return max(0.001, min(seconds, left))


def _metadata() -> calls.Metadata:
    traced = (telemetry.TRACEPARENT, telemetry.traceparent())
    client = access.client()
    return (traced, (access.CLIENT, client)) if client else (traced,)


def _target(config: RuntimeConfig, service: str) -> str:
    """What gRPC resolves: a name, which may stand for many instances, or the addresses of all of them."""
    addresses = config.addresses(service)
    return addresses[0] if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"


def connect(config: RuntimeConfig, caller: str, service: str, contract_name: str) -> calls.TypedChannel:
    """Open a channel from `caller` to `service` (both service names), whose server must show that identity.

    `contract_name` is the full name of the gRPC service that is called; its rules say what is repeated.
    """
    files = tls.Watched(tls.certificates(config, caller))
    options = (
        *OPTIONS,
        # The certificate names a SPIFFE id and its service as DNS name; an address is no identity.
        ("grpc.ssl_target_name_override", tls.server_name(config, service)),
        ("grpc.service_config", contract.service_config(contract_name)),
    )
    target = _target(config, service)
    renewing = RenewingChannel(files, lambda: grpc.aio.secure_channel(target, files.shown.channel(), options))
    return calls.TypedChannel(renewing, _metadata, _shorten)


class RenewingChannel(grpc.aio.Channel):
    """A channel that shows the newest certificate: gRPC's own shows for ever the one that it was opened with.

    When there is another one, calls are made on a new channel. Those that run go on, on the old one, which has no
    connection any more as soon as it is idle.
    """

    def __init__(self, files: tls.Watched, open_channel: Callable[[], grpc.aio.Channel]) -> None:
        self._files = files
        self._open = open_channel
        self._channels = [open_channel()]
        self._looked = time.monotonic()

    @property
    def _newest(self) -> grpc.aio.Channel:
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            if self._files.renewed():
                self._channels.append(self._open())
        return self._channels[-1]

    def _each(self, kind: str, method: str, serializer: Any, deserializer: Any) -> Any:
        """Calls of a method, each on the channel that is the newest then."""
        made: dict[int, Any] = {}

        def call(*request: Any, **options: Any) -> Any:
            channel = self._newest
            if id(channel) not in made:
                make = getattr(channel, kind)
                made[id(channel)] = make(method, request_serializer=serializer, response_deserializer=deserializer)
            return made[id(channel)](*request, **options)

        return call

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._each("unary_unary", method, request_serializer, response_deserializer)

    def stream_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._each("stream_unary", method, request_serializer, response_deserializer)

    def unary_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._each("unary_stream", method, request_serializer, response_deserializer)

    def stream_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._each("stream_stream", method, request_serializer, response_deserializer)

    async def __aenter__(self) -> RenewingChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Close it; calls that run are cancelled after `grace` seconds."""
        for channel in self._channels:
            await channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._newest.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._newest.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return once it is connected."""
        await self._newest.channel_ready()
