"""Web: open a clip at an address of the public internet, or post there, and only there.

The host is looked up once; every address that it has must be public; the connection is made to one of
those very addresses, while TLS still verifies the name. Redirects are followed by hand, each checked alike.
Nothing of the environment (proxies, netrc) is heeded.
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
from services.validation.exchange import Body, Broken, ConnectFailed, Head, Late, Misbehaved, Request, exchange

CHUNK_BYTES = 256 * 1024
# A host with more addresses than these is not tried to the end.
MAX_ADDRESSES = 3
# One with more than these is no host of a file.
MAX_KNOWN_ADDRESSES = 100
REDIRECTS = (301, 302, 303, 307, 308)
USER_AGENT = "MoneyPrinter"
# Lookups that hang keep a thread each until the system gives them up: they get threads of their own.
LOOKUPS_AT_ONCE = 32

NO_HEADERS: Mapping[str, str] = {}

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True)
class Rules:
    """How clips may be fetched."""

    connect_seconds: float
    total_seconds: float
    max_redirects: int
    allow_http: bool = False
    allowed_networks: tuple[Network, ...] = ()


_LOOKUPS = ThreadPoolExecutor(LOOKUPS_AT_ONCE, "lookup")


async def resolve(host: str, port: int) -> Sequence[str]:
    """The numeric addresses of a host, the best first."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, look_up)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def trust(extra_authority: Path | None) -> ssl.SSLContext:
    """Trust the public authorities, and those in a file."""
    context = httpx.create_ssl_context(trust_env=False)
    if extra_authority is not None:
        context.load_verify_locations(cafile=str(extra_authority))
    return context


@dataclass(frozen=True)
class Purpose:
    """What an address is used for, as errors say it."""

    subject: str
    action: str
    late: str
    broken: str
    refused: str
    unreachable: str
    local: str = ""
    """How an address of this machine or of a closed network can be allowed."""


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
class Answer:
    """What is said to a post."""

    http_status: int
    seconds: float
    """How long it took."""


class Web:
    """The web, as far as clips may come from it, or something be posted to it."""

    def __init__(
        self, rules: Rules, context: ssl.SSLContext, resolve: Resolve = resolve, purpose: Purpose = CLIP
    ) -> None:
        self._rules = rules
        self._context = context
        self._resolve = resolve
        self._purpose = purpose

    @asynccontextmanager
    async def open(self, address: str) -> AsyncIterator[Download]:
        """Open what is at an address. Raises InvalidArgument: CLIP_ADDRESS_REFUSED or CLIP_UNREACHABLE."""
        deadline = asyncio.get_running_loop().time() + self._rules.total_seconds
        url = self._parsed(address)
        for _ in range(self._rules.max_redirects + 1):
            async with self._answer(url, deadline) as (head, body):
                if head.status in REDIRECTS and "location" in head.headers:
                    url = self._parsed(head.headers["location"], url)
                    continue
                self._check_answer(head)
                length = head.headers.get("content-length", "")
                size_bytes = int(length) if length.isdecimal() else None
                async with aclosing(self._chunks(body)) as chunks:
                    yield Download(size_bytes, chunks)
                return
        raise self._unreachable(f"it redirects more than {self._rules.max_redirects} times")

    async def check(self, address: str) -> None:
        """Raise InvalidArgument when nothing may be asked of an address."""
        await self._checked(self._parsed(address))

    async def post(self, address: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post a body once; of what is said to it, only the status is read. Raises InvalidArgument as `open` does."""
        clock = asyncio.get_running_loop().time
        began = clock()
        deadline = began + self._rules.total_seconds
        async with self._answer(self._parsed(address), deadline, headers, body) as (head, _):
            return Answer(head.status, clock() - began)

    @asynccontextmanager
    async def _answer(
        self, url: httpx.URL, deadline: float, headers: Mapping[str, str] = NO_HEADERS, body: bytes | None = None
    ) -> AsyncIterator[tuple[Head, Body]]:
        """Ask for a URL, or post a body to it, and yield the answer of the first address that can be connected."""
        addresses = await self._checked(url)
        async with AsyncExitStack() as stack:
            failure: BaseException | None = None
            for address in addresses[:MAX_ADDRESSES]:
                request = _request(url, address, self._context, headers, body)
                try:
                    answer = await stack.enter_async_context(exchange(request, self._rules.connect_seconds, deadline))
                except ConnectFailed as refused:
                    failure = refused.__cause__
                    continue
                except (Broken, Misbehaved, Late) as broken:
                    raise self._failed(broken) from broken
                yield answer
                return
        raise self._unreachable(self._connect_words(failure)) from failure

    async def _checked(self, url: httpx.URL) -> Sequence[str]:
        """The addresses of a URL's host, each of which may be asked."""
        if url.scheme != "https" and not (url.scheme == "http" and self._rules.allow_http):
            hint = self._purpose.local if url.scheme == "http" else ""
            raise self._refused(f"it must begin with https://, not with {url.scheme or 'nothing'}{hint}")
        host = _host(url)
        if not host:
            raise self._refused("it names no host")
        if url.port is not None and not 0 < url.port < 65536:
            raise self._refused(f"there is no port {url.port}")
        if url.userinfo:
            raise self._refused("it must not carry a user name or a password")
        try:
            async with asyncio.timeout(self._rules.connect_seconds):
                addresses = await self._resolve(host, url.port or 443)
        except (OSError, UnicodeError):
            # TimeoutError is an OSError too: to the caller a name that is not found in time is not found.
            raise self._unreachable(f"no host of the name {host} is known") from None
        if len(addresses) > MAX_KNOWN_ADDRESSES:
            raise self._refused(f"{host} has more than {MAX_KNOWN_ADDRESSES} addresses")
        if not addresses or not all(may_fetch(address, self._rules.allowed_networks) for address in addresses):
            raise self._refused(f"{host} leads to a private or reserved network{self._purpose.local}")
        return addresses

    async def _chunks(self, body: Body) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(body.chunks(CHUNK_BYTES)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except (Broken, Misbehaved, Late) as broken:
            raise self._failed(broken) from broken

    def _parsed(self, address: str, base: httpx.URL | None = None) -> httpx.URL:
        try:
            return base.join(address) if base is not None else httpx.URL(address)
        except (httpx.InvalidURL, UnicodeError, ValueError):
            raise self._refused("it is not a well-formed address") from None

    def _check_answer(self, head: Head) -> None:
        if head.status != HTTPStatus.OK:
            phrase = ""
            with suppress(ValueError):
                phrase = f" {HTTPStatus(head.status).phrase}"
            raise self._unreachable(f"the server answered {head.status}{phrase}")
        if head.headers.get("content-encoding", "identity") != "identity":
            raise self._unreachable("the server sends it in a compressed form that was not asked for")

    def _refused(self, message: str) -> InvalidArgument:
        return InvalidArgument(f"{self._purpose.subject} cannot be used: {message}", reason=self._purpose.refused)

    def _unreachable(self, message: str) -> InvalidArgument:
        return InvalidArgument(f"{self._purpose.action}: {message}", reason=self._purpose.unreachable)

    def _failed(self, failure: Broken | Misbehaved | Late) -> InvalidArgument:
        match failure:
            case Late():
                return self._unreachable(f"{self._purpose.late} within {self._rules.total_seconds:g} s")
            case Misbehaved():
                return self._unreachable(str(failure))
        return self._unreachable(f"the connection broke {self._purpose.broken}")

    def _connect_words(self, failure: BaseException | None) -> str:
        """Why a server could not be connected, in plain words."""
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
    """The host as it is looked up: in ASCII, for not every name that claims to be Unicode's (`xn--`) is one."""
    return url.raw_host.decode("ascii").strip("[]")


def _request(
    url: httpx.URL, address: str, context: ssl.SSLContext, headers: Mapping[str, str], body: bytes | None
) -> Request:
    """A request for a URL that is sent to one of its host's addresses."""
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
