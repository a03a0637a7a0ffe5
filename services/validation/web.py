"""Web: fetch a clip from an address of the public internet, or post to a webhook.

The host is resolved once, all its addresses must be public, and the connection is made to one of them, while TLS
verifies the name. Redirects are followed one by one, each with the same checks. The environment (proxies, netrc) is
ignored.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

import httpx

from moneyprinter.errors import InvalidArgument
from services.validation.addresses import Network, may_fetch
from services.validation.clips import Download
from services.validation.exchange import (
    Body,
    ConnectFailed,
    DeadlineExpired,
    Head,
    LimitExceeded,
    Request,
    ResponseBroken,
    exchange,
)

CHUNK_BYTES = 256 * 1024
# The most addresses of a host that are tried.
MAX_ADDRESSES = 3
# A host with more addresses is refused.
MAX_RESOLVED_ADDRESSES = 100
REDIRECTS = (301, 302, 303, 307, 308)
USER_AGENT = "MoneyPrinter"
# A lookup that hangs occupies a thread until the system's timeout. Lookups therefore have threads of their own.
MAX_LOOKUPS = 32

NO_HEADERS: Mapping[str, str] = {}

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True)
class FetchRules:
    """The limits of a fetch or a post."""

    connect_seconds: float
    """The limit of a lookup, and of each connection."""
    total_seconds: float
    max_redirects: int
    allow_http: bool = False
    allowed_networks: tuple[Network, ...] = ()
    """Private networks that are allowed all the same."""


_LOOKUPS = ThreadPoolExecutor(MAX_LOOKUPS, "lookup")


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """The numeric addresses of a host, in order of preference."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    entries = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, look_up)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def create_tls_context(extra_authority: Path | None) -> ssl.SSLContext:
    """A TLS context that trusts the public certificate authorities, and those in a PEM file."""
    context = httpx.create_ssl_context(trust_env=False)
    if extra_authority is not None:
        context.load_verify_locations(cafile=str(extra_authority))
    return context


@dataclass(frozen=True)
class Purpose:
    """What an address is used for: the words and the reasons of its errors."""

    subject: str
    action: str
    late: str
    broken: str
    refused: str
    """The reason of the error for an address that is not allowed."""
    unreachable: str
    """The reason of the error for a server that does not respond as it should."""
    local: str = ""
    """How to allow an address of this machine or of a private network."""


CLIP = Purpose(
    subject="the clip's address",
    action="the clip could not be fetched",
    late="it was not fetched",
    broken="before the whole clip had come",
    refused="CLIP_ADDRESS_REFUSED",
    unreachable="CLIP_UNREACHABLE",
)
WEBHOOK = Purpose(
    subject="the webhook's address",
    action="the webhook gave no answer",
    late="nothing came",
    broken="before there was an answer",
    refused="WEBHOOK_ADDRESS_REFUSED",
    unreachable="WEBHOOK_UNREACHABLE",
    local="; to post to this machine, start the platform with `moneyprinter up --allow-local`, and to a closed network,"
    " set MONEYPRINTER_VALIDATION_ALLOWED_NETWORKS",
)


@dataclass(frozen=True)
class WebhookResponse:
    """The response to a post."""

    http_status: int
    seconds: float
    """The time from the post to the head of the response."""


class WebClient:
    """Fetches clips and posts to webhooks, within the rules.

    Args:
        rules: The limits.
        context: The TLS context of all connections.
        resolve: Resolves a host to numeric addresses.
        purpose: What the addresses are used for.
    """

    def __init__(
        self, rules: FetchRules, context: ssl.SSLContext, resolve: Resolve = resolve_host, purpose: Purpose = CLIP
    ) -> None:
        self._rules = rules
        self._context = context
        self._resolve = resolve
        self._purpose = purpose

    @asynccontextmanager
    async def open(self, address: str) -> AsyncIterator[Download]:
        """Open the file at an address.

        Raises `InvalidArgument` with the reasons of the purpose, such as CLIP_ADDRESS_REFUSED and CLIP_UNREACHABLE.
        """
        deadline = asyncio.get_running_loop().time() + self._rules.total_seconds
        url = self._parse_url(address)
        for _ in range(self._rules.max_redirects + 1):
            async with self._send(url, deadline) as (head, body):
                if head.status in REDIRECTS and "location" in head.headers:
                    url = self._parse_url(head.headers["location"], url)
                    continue
                self._check_head(head)
                length = head.headers.get("content-length", "")
                size_bytes = int(length) if length.isdecimal() else None
                async with aclosing(self._chunks(body)) as chunks:
                    yield Download(size_bytes, chunks)
                return
        raise self._unreachable_error(f"it redirects more than {self._rules.max_redirects} times")

    async def check(self, address: str) -> None:
        """Raise `InvalidArgument` when the platform may not connect to an address."""
        await self._resolve_allowed(self._parse_url(address))

    async def post(self, address: str, headers: Mapping[str, str], body: bytes) -> WebhookResponse:
        """Post a body once, and read the head of the response.

        Raises `InvalidArgument` with the reasons of the purpose, such as WEBHOOK_UNREACHABLE.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        deadline = began + self._rules.total_seconds
        async with self._send(self._parse_url(address), deadline, headers, body) as (head, _):
            return WebhookResponse(head.status, clock() - began)

    @asynccontextmanager
    async def _send(
        self, url: httpx.URL, deadline: float, headers: Mapping[str, str] = NO_HEADERS, body: bytes | None = None
    ) -> AsyncIterator[tuple[Head, Body]]:
        """Get a URL, or post a body to it, at the first of its addresses that accepts the connection."""
        addresses = await self._resolve_allowed(url)
        async with AsyncExitStack() as stack:
            failure: BaseException | None = None
            for address in addresses[:MAX_ADDRESSES]:
                request = _request(url, address, self._context, headers, body)
                try:
                    response = await stack.enter_async_context(exchange(request, self._rules.connect_seconds, deadline))
                except ConnectFailed as failed:
                    failure = failed.__cause__
                    continue
                except (ResponseBroken, LimitExceeded, DeadlineExpired) as failed:
                    raise self._exchange_error(failed) from failed
                yield response
                return
        raise self._unreachable_error(self._describe_connect_failure(failure)) from failure

    async def _resolve_allowed(self, url: httpx.URL) -> Sequence[str]:
        """The addresses of a URL's host, if the platform may connect to all of them."""
        if url.scheme != "https" and not (url.scheme == "http" and self._rules.allow_http):
            hint = self._purpose.local if url.scheme == "http" else ""
            raise self._address_error(f"it must begin with https://, not with {url.scheme or 'nothing'}{hint}")
        host = _host(url)
        if not host:
            raise self._address_error("it names no host")
        if url.port is not None and not 0 < url.port < 65536:
            raise self._address_error(f"there is no port {url.port}")
        if url.userinfo:
            raise self._address_error("it must not carry a user name or a password")
        try:
            async with asyncio.timeout(self._rules.connect_seconds):
                addresses = await self._resolve(host, url.port or 443)
        except (OSError, UnicodeError):
            # TimeoutError is an OSError: to the user, a name that does not resolve in time does not exist.
            raise self._unreachable_error(f"no host of the name {host} is known") from None
        if len(addresses) > MAX_RESOLVED_ADDRESSES:
            raise self._address_error(f"{host} has more than {MAX_RESOLVED_ADDRESSES} addresses")
        if not addresses or not all(may_fetch(address, self._rules.allowed_networks) for address in addresses):
            raise self._address_error(f"{host} leads to a private or reserved network{self._purpose.local}")
        return addresses

    async def _chunks(self, body: Body) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(body.chunks(CHUNK_BYTES)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except (ResponseBroken, LimitExceeded, DeadlineExpired) as failed:
            raise self._exchange_error(failed) from failed

    def _parse_url(self, address: str, base: httpx.URL | None = None) -> httpx.URL:
        try:
            return base.join(address) if base is not None else httpx.URL(address)
        except (httpx.InvalidURL, UnicodeError, ValueError):
            raise self._address_error("it is not a well-formed address") from None

    def _check_head(self, head: Head) -> None:
        if head.status != HTTPStatus.OK:
            phrase = ""
            with suppress(ValueError):
                phrase = f" {HTTPStatus(head.status).phrase}"
            raise self._unreachable_error(f"the server answered {head.status}{phrase}")
        if head.headers.get("content-encoding", "identity") != "identity":
            raise self._unreachable_error("the server sends it in a compressed form that was not requested")

    def _address_error(self, message: str) -> InvalidArgument:
        return InvalidArgument(f"{self._purpose.subject} cannot be used: {message}", reason=self._purpose.refused)

    def _unreachable_error(self, message: str) -> InvalidArgument:
        return InvalidArgument(f"{self._purpose.action}: {message}", reason=self._purpose.unreachable)

    def _exchange_error(self, failure: ResponseBroken | LimitExceeded | DeadlineExpired) -> InvalidArgument:
        match failure:
            case DeadlineExpired():
                return self._unreachable_error(f"{self._purpose.late} within {self._rules.total_seconds:g} s")
            case LimitExceeded():
                return self._unreachable_error(str(failure))
        return self._unreachable_error(f"the connection broke {self._purpose.broken}")

    def _describe_connect_failure(self, failure: BaseException | None) -> str:
        """The reason why a connection failed, for the user."""
        match failure:
            case ssl.SSLCertVerificationError():
                return f"the server's certificate cannot be trusted ({failure.verify_message})"
            case ssl.SSLError():
                return "the server does not speak TLS as it should"
            case ConnectionRefusedError():
                return "the server refuses the connection"
            case TimeoutError():
                return f"the server did not answer within {self._rules.connect_seconds:g} s"
        return "the server cannot be reached"


def _host(url: httpx.URL) -> str:
    """The host in ASCII, as it is resolved: a name that begins with `xn--` need not be valid Unicode."""
    return url.raw_host.decode("ascii").strip("[]")


def _request(
    url: httpx.URL, address: str, context: ssl.SSLContext, headers: Mapping[str, str], body: bytes | None
) -> Request:
    """A request for a URL, to one of its host's addresses."""
    is_tls = url.scheme == "https"
    return Request(
        address=address,
        port=url.port or (443 if is_tls else 80),
        host=_host(url),
        context=context if is_tls else None,
        method=b"GET" if body is None else b"POST",
        target=url.raw_path,
        headers={
            **headers,
            "Host": url.netloc.decode("ascii"),
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": USER_AGENT,
            "Connection": "close",
        },
        body=body or b"",
    )
