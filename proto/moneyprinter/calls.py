"""Calls: a channel on which every call has a deadline, carries its caller's metadata, and fails with a typed error.

`TypedChannel` wraps a `grpc.aio` channel; a generated stub made on it is used as always, and raises
`moneyprinter.errors.Error` where it would raise `AioRpcError`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc

from moneyprinter import contract, status

Metadata = Sequence[tuple[str, str | bytes]]


class Response(AsyncIterator[Any]):
    """The answer of a streaming call: iterate over it; leave it, or `cancel`, and the call is over."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._messages = call.__aiter__()

    def __aiter__(self) -> Response:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._messages.__anext__()
        except grpc.aio.AioRpcError as failure:
            raise status.from_rpc_error(failure) from None

    async def initial_metadata(self) -> dict[str, str | bytes]:
        """What the server sent before its first message."""
        try:
            return dict(await self._call.initial_metadata())
        except grpc.aio.AioRpcError as failure:
            raise status.from_rpc_error(failure) from None

    def cancel(self) -> None:
        """End the call now."""
        self._call.cancel()


async def _answer(call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as failure:
        raise status.from_rpc_error(failure) from None


class TypedChannel(grpc.aio.Channel):
    """A channel for stubs whose calls have deadlines and typed errors.

    `metadata` gives what to send with each call; `shorten` may shorten a call's deadline (seconds in,
    seconds out), for example to what is left of the caller's own.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        metadata: Callable[[], Metadata] = tuple,
        shorten: Callable[[float], float] = float,
    ) -> None:
        self._channel = channel
        self._metadata = metadata
        self._shorten = shorten

    def _wrap(self, kind: str, path: str, serializer: Any, deserializer: Any, answer: Callable[[Any], Any]) -> Any:
        multicallable = getattr(self._channel, kind)(
            path, request_serializer=serializer, response_deserializer=deserializer
        )

        def call(request: Any, timeout: float | None = None, metadata: Metadata = (), **options: Any) -> Any:
            seconds = self._shorten(contract.deadline_seconds(path) if timeout is None else timeout)
            sent = (*self._metadata(), *metadata)
            return answer(multicallable(request, timeout=seconds, metadata=sent, **options))

        return call

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._wrap("unary_unary", method, request_serializer, response_deserializer, _answer)

    def stream_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._wrap("stream_unary", method, request_serializer, response_deserializer, _answer)

    def unary_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._wrap("unary_stream", method, request_serializer, response_deserializer, Response)

    def stream_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._wrap("stream_stream", method, request_serializer, response_deserializer, Response)

    async def __aenter__(self) -> TypedChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Close the channel; calls that run are cancelled after `grace` seconds."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return once the channel is connected."""
        await self._channel.channel_ready()
