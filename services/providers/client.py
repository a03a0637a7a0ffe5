"""Client: HTTP calls of one provider, within limits. Every failure is a `ProviderFailure`.

The environment (proxies, netrc) is ignored, redirects are not followed, and answers are neither compressed nor larger
than a limit. A key that the provider limits or refuses is replaced by the next one within the same call.
"""

from __future__ import annotations

import asyncio
import hashlib
import json as json_format
import logging
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx
from prometheus_client import Counter, Histogram

from services.providers.breaker import Breaker
from services.providers.failures import FailureKind, ProviderFailure
from services.providers.keys import KeyRing
from services.providers.responses import KEY_STATUSES, to_failure

# httpx logs whole addresses, and some providers take their key in the query.
for _library in ("httpx", "httpcore"):
    logging.getLogger(_library).setLevel(logging.WARNING)

MAX_ERROR_BYTES = 64 * 1024
CONNECTIONS = httpx.Limits(max_connections=32, max_keepalive_connections=8, keepalive_expiry=20)
USER_AGENT = "MoneyPrinter"

_CALLS = Counter("moneyprinter_provider_calls", "Calls of external providers by outcome", ("provider", "kind"))
_SECONDS = Histogram(
    "moneyprinter_provider_call_seconds",
    "Duration of calls of external providers",
    ("provider",),
    buckets=(0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
)


@dataclass(frozen=True)
class Authentication:
    """What authenticates a call."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)


@cache
def _tls_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def prepare_clients() -> None:
    """Load the certificate authorities and the modules that all clients share.

    It takes 0.3 to 1 s, in which the first client would block the event loop. `CredentialMonitor` calls it in a thread.
    """
    httpx.AsyncHTTPTransport(verify=_tls_context(), trust_env=False)


Authenticate = Callable[[str], Authentication]
"""Returns the headers or the parameters that carry a key."""


def idempotency_header(path: str, document: Any) -> dict[str, str]:
    """The header by which a server that supports it recognises a repeated call, so that it does not charge twice."""
    text = json_format.dumps([path, document], ensure_ascii=False, sort_keys=True)
    return {"Idempotency-Key": hashlib.sha256(text.encode()).hexdigest()}


def authenticate_bearer(key: str) -> Authentication:
    """A bearer token in the header `Authorization`."""
    return Authentication({"Authorization": f"Bearer {key}"})


@dataclass(frozen=True)
class _Call:
    method: str
    path: str
    json: Any
    content: bytes | None
    params: Mapping[str, str] | None
    headers: Mapping[str, str] | None
    seconds: float


class ProviderClient:
    """Calls one provider over HTTP.

    Args:
        name: The name of the provider, for errors and metrics.
        base_url: The address of the provider without a slash at its end. It is a setting of the operator.
        keys: The keys; None: the provider needs none.
        authenticate: Returns the headers or parameters that carry a key.
        breaker: The circuit breaker; by default a new one.
        timeout_seconds: The limit of a whole call, and of each line of a stream.
        max_response_bytes: The limit of a body.
        key_statuses: The HTTP statuses that stand for a refused key.
        transport: The transport of httpx; by default connections over the network.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        keys: KeyRing | None = None,
        authenticate: Authenticate = authenticate_bearer,
        breaker: Breaker | None = None,
        *,
        timeout_seconds: float = 10.0,
        max_response_bytes: int = 32 * 1024 * 1024,
        key_statuses: Collection[int] = KEY_STATUSES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name
        self.base_url = base_url.rstrip("/")
        self.keys = keys
        self.breaker = breaker or Breaker(name)
        self._authenticate = authenticate
        self._seconds = timeout_seconds
        self._max_bytes = max_response_bytes
        self._key_statuses = key_statuses
        self._transport = transport
        self._calls = 0
        self._is_retired = False
        self._http: httpx.AsyncClient | None = self._open_connections()

    def __repr__(self) -> str:
        return f"ProviderClient({self.name!r})"

    @property
    def is_open(self) -> bool:
        """Whether connections are open, or kept for further calls."""
        return self._http is not None

    async def retire(self) -> None:
        """Close the connections when the calls in progress have ended. Later calls have connections of their own."""
        self._is_retired = True
        if not self._calls:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, also those of calls in progress."""
        self._is_retired = True
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def request_json(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Call the provider, and return the JSON document of its answer.

        Args:
            method: The HTTP method.
            path: The path below `base_url`, beginning with a slash. Quote what comes from users.
            json: The body, as a JSON document.
            content: The body as bytes, instead of `json`; its type is in `headers`.
            params: The query.
            headers: Further headers.
            timeout_seconds: The limit of the call; by default that of the client.

        Raises `ProviderFailure`.
        """
        call = _Call(method, path, json, content, params, headers, timeout_seconds or self._seconds)
        async with self._attempt():
            content_type, body = await self._rotate(call)
            self._check_type(content_type, ("application/json",))
            try:
                return json_format.loads(body)
            except (ValueError, RecursionError):
                raise self._bad_response("its answer is not valid JSON") from None

    async def request_bytes(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        content_types: Sequence[str] = (),
    ) -> tuple[str, bytes]:
        """Call the provider, and return the type and the bytes of its answer, which are not empty.

        The arguments are those of `request_json`; `content_types` are the beginnings of the types that are accepted,
        by default all but HTML and JSON. Raises `ProviderFailure`.
        """
        call = _Call(method, path, json, content, params, headers, timeout_seconds or self._seconds)
        async with self._attempt():
            content_type, body = await self._rotate(call)
            self._check_type(content_type, content_types)
            if not body:
                raise self._bad_response("its answer is empty")
            return content_type, body

    @asynccontextmanager
    async def _attempt(self) -> AsyncIterator[None]:
        """Make the call of the body through the breaker, and count it."""
        began, kind = time.perf_counter(), "cancelled"
        self._calls += 1
        try:
            with self.breaker.attempt():
                yield
            kind = "ok"
        except ProviderFailure as failure:
            kind = failure.kind.value
            raise
        finally:
            _CALLS.labels(self.name, kind).inc()
            _SECONDS.labels(self.name).observe(time.perf_counter() - began)
            self._calls -= 1
            if self._is_retired:
                await self.retire()

    async def _rotate(self, call: _Call) -> tuple[str, bytes]:
        """The type and the body of the answer to a call, made with the first key that is accepted."""
        async with self._translate(call.seconds):
            response = await self._open_with_rotation(call)
            try:
                body = await self._read(response, self._max_bytes)
            finally:
                await response.aclose()
        if body is None:
            raise self._bad_response(f"its answer has more than {self._max_bytes} bytes")
        return response.headers.get("content-type", ""), body

    async def _open_with_rotation(self, call: _Call) -> httpx.Response:
        """Send a call with one key after the other until one is accepted. Returns the open response."""
        while True:
            key = self.keys.current() if self.keys is not None else None
            async with self._translate(call.seconds):
                response = await self._send(call, key)
                if response.is_success and response.headers.get("content-encoding", "identity") == "identity":
                    return response
                try:
                    body = await self._read(response, MAX_ERROR_BYTES)
                finally:
                    await response.aclose()
            if response.is_success:
                raise self._bad_response("its answer is compressed, which was not requested")
            failure = to_failure(
                self.name, response.status_code, response.headers, body or b"", key_statuses=self._key_statuses
            )
            if key is None or self.keys is None or failure.kind not in _KEY_KINDS:
                raise failure
            self.keys.rest(key, failure.kind, failure.retry_after)
            if len(self.keys) == 1:
                # The answer is clearer than the key ring's; the pause is the same.
                raise failure

    async def _send(self, call: _Call, key: str | None) -> httpx.Response:
        allowed = self._authenticate(key) if key is not None else Authentication()
        http = self._http = self._http or self._open_connections()
        request = http.build_request(
            call.method,
            self.base_url + call.path,
            json=call.json,
            content=call.content,
            params={**(call.params or {}), **allowed.params} or None,
            headers={**(call.headers or {}), **allowed.headers},
        )
        return await http.send(request, stream=True)

    def _open_connections(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            verify=_tls_context(),
            timeout=None,  # noqa: S113  # Each call has a limit as a whole.
            limits=CONNECTIONS,
            transport=self._transport,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        )

    async def _read(self, response: httpx.Response, limit: int) -> bytes | None:
        """The body; None when it has more bytes than the limit."""
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > limit:
                return None
        return bytes(body)

    @asynccontextmanager
    async def _translate(self, seconds: float) -> AsyncIterator[None]:
        """Turn errors of httpx and the end of the time into `ProviderFailure`. Their texts, which may hold an address
        with a key, are dropped."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            message = f"{self.name} did not answer within {seconds:g} s"
            raise ProviderFailure(self.name, FailureKind.TIMEOUT, message) from None
        except httpx.ConnectError:
            message = f"{self.name} cannot be reached; check the network and the address of the provider"
            raise ProviderFailure(self.name, FailureKind.UNAVAILABLE, message) from None
        except httpx.TransportError:
            message = f"{self.name} broke off its answer"
            raise ProviderFailure(self.name, FailureKind.UNAVAILABLE, message) from None
        except (httpx.InvalidURL, ValueError, UnicodeError):
            message = f"{self.name} cannot be called; check the address of the provider and its keys"
            raise ProviderFailure(self.name, FailureKind.UNAUTHORIZED, message) from None

    def _check_type(self, content_type: str, accepted: Sequence[str]) -> None:
        kind = content_type.partition(";")[0].strip().lower()
        refused = not kind.startswith(tuple(accepted)) if accepted else kind in ("text/html", "application/json")
        if refused and not (kind.endswith("+json") and "application/json" in accepted):
            shown = kind if re.fullmatch(r"[a-z]{1,20}/[a-z0-9.+-]{1,40}", kind) else "of an unknown type"
            raise self._bad_response(f"its answer is {shown}; check the address of the provider")

    def _bad_response(self, what: str) -> ProviderFailure:
        return ProviderFailure(self.name, FailureKind.BAD_RESPONSE, f"{self.name}: {what}")


_KEY_KINDS = (FailureKind.RATE_LIMITED, FailureKind.UNAUTHORIZED, FailureKind.QUOTA_EXHAUSTED)
