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
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx

from moneyprinter.errors import InvalidArgument
from services.validation.addresses import Network, may_fetch
from services.validation.clips import Download

CHUNK_BYTES = 256 * 1024
# A host with more addresses than these is not tried to the end.
MAX_ADDRESSES = 3

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


async def resolve(host: str, port: int) -> Sequence[str]:
    """The numeric addresses of a host, the best first."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
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
            async with self._answer(url, deadline) as response:
                if response.has_redirect_location:
                    url = self._parsed(response.headers["location"], url)
                    continue
                self._check_answer(response)
                length = response.headers.get("content-length", "")
                size_bytes = int(length) if length.isdecimal() else None
                async with aclosing(self._chunks(response, deadline)) as chunks:
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
        async with self._answer(self._parsed(address), deadline, headers, body) as response:
            return Answer(response.status_code, clock() - began)

    @asynccontextmanager
    async def _answer(
        self, url: httpx.URL, deadline: float, headers: Mapping[str, str] = NO_HEADERS, body: bytes | None = None
    ) -> AsyncIterator[httpx.Response]:
        """Ask for a URL, or post a body to it, and yield the head of the answer."""
        addresses = await self._checked(url)
        timeout = httpx.Timeout(self._rules.total_seconds, connect=self._rules.connect_seconds)
        # A client for each request, so that no connection made for one name serves another.
        async with httpx.AsyncClient(verify=self._context, trust_env=False, timeout=timeout) as client:
            requests = [_request(client, url, address, headers, body) for address in addresses[:MAX_ADDRESSES]]
            response = await self._first(client, requests, deadline)
            try:
                yield response
            finally:
                await response.aclose()

    async def _first(
        self, client: httpx.AsyncClient, requests: Sequence[httpx.Request], deadline: float
    ) -> httpx.Response:
        """The answer of the first address that can be connected."""
        failure: httpx.TransportError | None = None
        for request in requests:
            try:
                async with asyncio.timeout_at(deadline):
                    return await client.send(request, stream=True, follow_redirects=False)
            except (httpx.ConnectError, httpx.ConnectTimeout) as refused:
                failure = refused
            except httpx.InvalidURL:
                # The client looks at a redirect even when it is not to follow it.
                raise self._refused("it redirects to what is no well-formed address") from None
            except httpx.TransportError as broken:
                raise self._unreachable(self._words(broken)) from broken
            except TimeoutError:
                raise self._late() from None
        assert failure is not None
        raise self._unreachable(self._words(failure)) from failure

    async def _checked(self, url: httpx.URL) -> Sequence[str]:
        """The addresses of a URL's host, each of which may be asked."""
        if url.scheme != "https" and not (url.scheme == "http" and self._rules.allow_http):
            raise self._refused(f"it must begin with https://, not with {url.scheme or 'nothing'}")
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
        if not addresses or not all(may_fetch(address, self._rules.allowed_networks) for address in addresses):
            raise self._refused(f"{host} leads to a private or reserved network")
        return addresses

    async def _chunks(self, response: httpx.Response, deadline: float) -> AsyncGenerator[bytes, None]:
        chunks = response.aiter_raw(CHUNK_BYTES)
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    chunk = await anext(chunks, None)
            except httpx.TransportError as broken:
                raise self._unreachable(self._words(broken)) from broken
            except TimeoutError:
                raise self._late() from None
            if chunk is None:
                return
            yield chunk

    def _parsed(self, address: str, base: httpx.URL | None = None) -> httpx.URL:
        try:
            return base.join(address) if base is not None else httpx.URL(address)
        except (httpx.InvalidURL, UnicodeError, ValueError):
            raise self._refused("it is not a well-formed address") from None

    def _check_answer(self, response: httpx.Response) -> None:
        if response.status_code != HTTPStatus.OK:
            phrase = ""
            with suppress(ValueError):
                phrase = f" {HTTPStatus(response.status_code).phrase}"
            raise self._unreachable(f"the server answered {response.status_code}{phrase}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise self._unreachable("the server sends it in a compressed form that was not asked for")

    def _refused(self, message: str) -> InvalidArgument:
        return InvalidArgument(f"{self._purpose.subject} cannot be used: {message}", reason=self._purpose.refused)

    def _unreachable(self, message: str) -> InvalidArgument:
        return InvalidArgument(f"{self._purpose.action}: {message}", reason=self._purpose.unreachable)

    def _late(self) -> InvalidArgument:
        return self._unreachable(f"{self._purpose.late} within {self._rules.total_seconds:g} s")

    def _words(self, failure: httpx.TransportError) -> str:
        """What went wrong, in plain words."""
        match failure:
            case httpx.ConnectTimeout():
                return f"the server did not answer within {self._rules.connect_seconds:g} s"
            case httpx.TimeoutException():
                return f"{self._purpose.late} within {self._rules.total_seconds:g} s"
        cause: BaseException | None = failure
        while cause is not None:
            match cause:
                case ssl.SSLCertVerificationError():
                    return f"the server's certificate cannot be trusted ({cause.verify_message})"
                case ssl.SSLError():
                    return "the server does not speak TLS as it should"
                case ConnectionRefusedError():
                    return "the server refuses the connection"
            cause = cause.__cause__ or cause.__context__
        if isinstance(failure, httpx.ConnectError):
            return "the server cannot be reached"
        return f"the connection broke {self._purpose.broken}"


def _host(url: httpx.URL) -> str:
    """The host as it is looked up: in ASCII, for not every name that claims to be Unicode's (`xn--`) is one."""
    return url.raw_host.decode("ascii").strip("[]")


def _request(
    client: httpx.AsyncClient, url: httpx.URL, address: str, headers: Mapping[str, str], body: bytes | None
) -> httpx.Request:
    """A request for a URL that is sent to one of its host's addresses."""
    return client.build_request(
        "GET" if body is None else "POST",
        url.copy_with(host=address),
        headers={**headers, "Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"},
        content=body,
        extensions={"sni_hostname": _host(url)},
    )
