"""Calls: a gRPC channel whose calls have a deadline, common metadata and typed errors.

`TypedChannel` wraps a `grpc.aio` channel. A generated stub on it raises `moneyprinter.errors.Error` instead of
`AioRpcError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc

from moneyprinter import contract, errors, status

Metadata = Sequence[tuple[str, str | bytes]]


class Response(AsyncIterator[Any]):
    """The response of a streaming call: iterate over it. To stop early, call `cancel`."""

    def __init__(self, call: Any, requests: _Requests | None) -> None:
        self._call = call
        self._requests = requests
        self._messages = call.__aiter__()

    def __aiter__(self) -> Response:
        return self

    async def __anext__(self) -> Any:
        with _raise_typed(self._requests):
            return await self._messages.__anext__()

    async def initial_metadata(self) -> dict[str, str | bytes]:
        """Return the metadata that the server sends before its first message."""
        with _raise_typed(self._requests):
            return dict(await self._call.initial_metadata())

    def cancel(self) -> None:
        """Cancel the call."""
        self._call.cancel()


class _LateResponse(Response):
    """The response of a streaming call that `begin` starts when the response is first read."""

    def __init__(self, begin: Callable[[], Awaitable[Response]]) -> None:
        self._begin = begin
        self._begun: Response | None = None
        self._cancelled = False

    async def _response(self) -> Response:
        if self._begun is None:
            self._begun = await self._begin()
            if self._cancelled:
                self._begun.cancel()
        return self._begun

    async def __anext__(self) -> Any:
        return await (await self._response()).__anext__()

    async def initial_metadata(self) -> dict[str, str | bytes]:
        return await (await self._response()).initial_metadata()

    def cancel(self) -> None:
        self._cancelled = True
        if self._begun is not None:
            self._begun.cancel()


class _Requests(AsyncIterator[Any]):
    """The requests of a streaming call, and the exception that their iterator raised.

    grpc.aio cancels a call whose request iterator raises, and drops the exception. The caller would see a cancellation
    without a cause, which a task group takes for the end of the task.
    """

    def __init__(self, requests: AsyncIterable[Any] | Iterable[Any]) -> None:
        self._requests = requests.__aiter__() if isinstance(requests, AsyncIterable) else iter(requests)
        self.failure: Exception | None = None

    def __aiter__(self) -> _Requests:
        return self

    async def __anext__(self) -> Any:
        try:
            if isinstance(self._requests, AsyncIterator):
                return await self._requests.__anext__()
            return next(self._requests)
        except StopIteration:
            raise StopAsyncIteration from None
        except StopAsyncIteration:
            raise
        except Exception as failure:
            self.failure = failure
            raise


@contextmanager
def _raise_typed(requests: _Requests | None) -> Iterator[None]:
    """Raise the typed error instead of gRPC's, and the exception of the request iterator instead of a cancellation."""
    try:
        yield
    except grpc.aio.AioRpcError as failure:
        raise (requests and requests.failure) or status.from_rpc_error(failure) from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if requests is None or requests.failure is None or (task is not None and task.cancelling()):
            raise
        raise requests.failure from None


async def _await_response(call: Any, requests: _Requests | None) -> Any:
    with _raise_typed(requests):
        return await call


class TypedChannel(grpc.aio.Channel):
    """A channel for stubs whose calls have deadlines and typed errors.

    `metadata` returns the metadata of a call. `shorten` maps the deadline of a call in seconds to a shorter one, for
    example the rest of the caller's own. `prepare` runs before each call, for example to renew a token. `recover`
    receives the error of a failed call and returns whether to repeat it once; calls with a stream of requests are never
    repeated, nor streaming responses.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        metadata: Callable[[], Metadata] = tuple,
        shorten: Callable[[float], float] = float,
        *,
        prepare: Callable[[], Awaitable[None]] | None = None,
        recover: Callable[[errors.Error], Awaitable[bool]] | None = None,
    ) -> None:
        self._channel = channel
        self._metadata = metadata
        self._shorten = shorten
        self._prepare = prepare
        self._recover = recover

    def _wrap(self, kind: str, path: str, serializer: Any, deserializer: Any) -> Any:
        multicallable = getattr(self._channel, kind)(
            path, request_serializer=serializer, response_deserializer=deserializer
        )
        streams_requests, streams_responses = kind.startswith("stream"), kind.endswith("stream")
        wrap = Response if streams_responses else _await_response

        def begin(request: Any, timeout: float | None, metadata: Metadata, options: dict[str, Any]) -> Any:
            seconds = self._shorten(contract.deadline_seconds(path) if timeout is None else timeout)
            requests = _Requests(request) if streams_requests and request is not None else None
            sent = (*self._metadata(), *metadata)
            return wrap(multicallable(requests or request, timeout=seconds, metadata=sent, **options), requests)

        async def prepare_and_begin(*arguments: Any) -> Any:
            assert self._prepare is not None
            await self._prepare()
            return begin(*arguments)

        async def call_and_recover(*arguments: Any) -> Any:
            try:
                return await (await prepare_and_begin(*arguments))
            except errors.Error as failure:
                if streams_requests or self._recover is None or not await self._recover(failure):
                    raise
                return await (await prepare_and_begin(*arguments))

        def call(request: Any = None, timeout: float | None = None, metadata: Metadata = (), **options: Any) -> Any:
            arguments = (request, timeout, metadata, options)
            if self._prepare is None:
                return begin(*arguments)
            if streams_responses:
                return _LateResponse(lambda: prepare_and_begin(*arguments))
            return call_and_recover(*arguments)

        return call

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._wrap("unary_unary", method, request_serializer, response_deserializer)

    def stream_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._wrap("stream_unary", method, request_serializer, response_deserializer)

    def unary_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._wrap("unary_stream", method, request_serializer, response_deserializer)

    def stream_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return self._wrap("stream_stream", method, request_serializer, response_deserializer)

    async def __aenter__(self) -> TypedChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Close the channel; calls in progress are cancelled after `grace` seconds."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the channel is connected."""
        await self._channel.channel_ready()
