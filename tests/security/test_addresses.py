"""Addresses: no spelling, name, redirect or response makes the platform connect to a forbidden address.

The tests call the validation service over mTLS. The forbidden address is a port that counts connections. For cases
that need a first response, fetching from 127.0.0.1 alone is allowed.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.validation.v1 import validation_service_pb2 as pb
from moneyprinter.validation.v1 import validation_service_pb2_grpc as pb_grpc
from services.runtime.config import PORTS, RuntimeConfig
from services.validation.config import Config
from tests.mesh import Mesh, ffmpeg_program
from tests.security.traps import Names, Trap
from tests.stored import start_storage
from tests.validation.footage import Footage
from tests.validation.site import Site

NAME = "gateway.moneyprinter.svc"
"""The name in the certificate of the site; in these tests it belongs to an attacker."""
ADDRESS_REASONS = {"CLIP_ADDRESS_REFUSED", "CLIP_UNREACHABLE"}


@dataclass(frozen=True)
class ValidationServices:
    """The validation service twice: with the default settings, and with clips from 127.0.0.1 allowed."""

    default: Mesh
    permissive: Mesh
    trap: Trap
    scratch: Path


@pytest.fixture(scope="module")
async def services(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ValidationServices]:
    folder = tmp_path_factory.mktemp("services")
    config = RuntimeConfig(
        certificates=certificates,
        ports=dict.fromkeys(PORTS, 0),
        scratch=folder / "scratch",
        ffmpeg=ffmpeg_program(),
        grace_seconds=1.0,
    )
    permissive = Config(
        allowed_networks=(ip_network("127.0.0.1/32"),),
        extra_authority=certificates / "ca.pem",
        max_bytes=1_000_000,
        fetch_seconds=1.0,
    )
    async with Trap() as trap, Mesh(config) as first:
        await start_storage(first, folder)
        ports = first.config.ports
        await first.start("validation", Config(connect_seconds=2.0))
        async with Mesh(first.config.model_copy(update={"ports": ports})) as second:
            await second.start("validation", permissive)
            yield ValidationServices(first, second, trap, folder / "scratch")


@pytest.fixture
async def site(certificates: Path) -> AsyncIterator[Site]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "gateway" / "cert.pem", certificates / "gateway" / "key.pem")
    async with Site(context) as site:
        yield site


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names()
    monkeypatch.setattr(socket, "getaddrinfo", found.getaddrinfo)
    return found


async def refusal(door: Mesh, address: str) -> errors.InvalidArgument:
    """Validate a clip at an address; returns the error."""
    stub = door.stub(pb_grpc.ValidationServiceStub)
    with pytest.raises(errors.InvalidArgument) as refused:
        async for _ in stub.ValidateClip(pb.ValidateClipRequest(url=address)):
            pass
    return refused.value


# `PORT` stands for the port of the trap, in addresses of this machine.
SPELLINGS = [
    # This machine, in the number formats of inet_aton (4.2BSD).
    "https://127.0.0.1:PORT/",
    "https://127.1:PORT/",
    "https://127.0.1:PORT/",
    "https://2130706433:PORT/",
    "https://0x7f000001:PORT/",
    "https://0x7f.0.0.1:PORT/",
    "https://0X7F.0x0.0x0.0X1:PORT/",
    "https://017700000001:PORT/",
    "https://0177.0.0.01:PORT/",
    "https://127.255.255.254:PORT/",
    "https://0:PORT/",
    "https://0.0.0.0:PORT/",
    "https://0x0:PORT/",
    # As names, and in Unicode.
    "https://localhost:PORT/",
    "https://LOCALHOST:PORT/",
    "https://localhost.:PORT/",
    "https://127.0.0.1.:PORT/",
    "https://127\u30020\u30020\u30021:PORT/",
    "https://127\uff0e0\uff0e0\uff0e1:PORT/",
    "https://127\uff610\uff610\uff611:PORT/",
    "https://\uff11\uff12\uff17.0.0.1:PORT/",
    "https://\u2460\u2461\u2466.0.0.1:PORT/",
    "https://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:PORT/",
    "https://xn--127-0-0-1:PORT/",
    "https://127.0.0.1%2f:PORT/",
    "https://127%2e0%2e0%2e1:PORT/",
    "https://%31%32%37.0.0.1:PORT/",
    # As IPv6, plain and embedded.
    "https://[::1]:PORT/",
    "https://[0:0:0:0:0:0:0:1]:PORT/",
    "https://[::]:PORT/",
    "https://[::1%25lo]:PORT/",
    "https://[::1%lo]:PORT/",
    "https://[fe80::1%25lo]:PORT/",
    "https://[::ffff:127.0.0.1]:PORT/",
    "https://[::ffff:7f00:1]:PORT/",
    "https://[::127.0.0.1]:PORT/",
    "https://[::ffff:0:127.0.0.1]:PORT/",
    "https://[64:ff9b::7f00:1]:PORT/",
    "https://[64:ff9b:1::127.0.0.1]:PORT/",
    "https://[2002:7f00:1::]:PORT/",
    "https://[2001:0:7f00:1::]:PORT/",
    # After something that looks like a host name.
    "https://good.example@127.0.0.1:PORT/",
    "https://good.example:443@127.0.0.1:PORT/",
    "https://good.example%40127.0.0.1:PORT/",
    "https://good.example\\@127.0.0.1:PORT/",
    "https://127.0.0.1:PORT\\@good.example/",
    "https://127.0.0.1:PORT#@good.example/",
    "https://127.0.0.1:PORT?@good.example/",
    "https:127.0.0.1:PORT/",
    "https:/127.0.0.1:PORT/",
    "https:///127.0.0.1:PORT/",
    "https:\\\\127.0.0.1:PORT\\",
    "https://127.0.0.1\t:PORT/",
    "https:// 127.0.0.1:PORT/",
    "https://127.0.0.1\n:PORT/",
    "https://127.0.0.1\r\nhost: good.example\r\n\r\n:PORT/",
    # The metadata services of clouds.
    "https://169.254.169.254/latest/meta-data/",
    "https://good@169.254.169.254/",
    "https://2852039166/",
    "https://0xA9FEA9FE/",
    "https://0251.0376.0251.0376/",
    "https://169.254.43518/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[2002:a9fe:a9fe::]/",
    "https://[fd00:ec2::254]/",
    "https://[fd20:ce::254]/",
    "https://169.254.170.2/",
    "https://100.100.100.200/",
    "https://168.63.129.16/",
    "https://192.0.0.192/",
    # Reserved and private networks.
    "https://10.0.0.1/",
    "https://10.1/",
    "https://172.16.0.1/",
    "https://192.168.0.1/",
    "https://100.64.0.1/",
    "https://198.18.0.1/",
    "https://192.0.2.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[fe80::1]/",
    "https://[fec0::1]/",
    "https://[fc00::1]/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://[3fff::1]/",
    "https://[100::1]/",
    "https://[5f00::1]/",
    # Other schemes, and no scheme.
    "http://127.0.0.1:PORT/",
    "HTTP://127.0.0.1:PORT/",
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:PORT/_GET%20/",
    "ftp://127.0.0.1:PORT/a.mp4",
    "dict://127.0.0.1:PORT/",
    "ldap://127.0.0.1:PORT/",
    "data:video/mp4;base64,AAAA",
    "concat:https://127.0.0.1:PORT/|/etc/passwd",
    "unix:///var/run/docker.sock",
    "jar:https://127.0.0.1:PORT/!/",
    "//127.0.0.1:PORT/",
    "127.0.0.1:PORT",
    "https://",
    "https://:PORT/",
    "https://127.0.0.1:0/",
    "https://127.0.0.1:-1/",
    "https://127.0.0.1:65536/",
    "https://[::1",
    "https://[127.0.0.1]:PORT/",
]


def test_there_are_enough() -> None:
    assert len(set(SPELLINGS)) == len(SPELLINGS) >= 30


async def test_no_spelling_of_a_private_address_is_connected(services: ValidationServices) -> None:
    """In one test, because each is fast: the service refuses every spelling before it connects."""
    for spelling in SPELLINGS:
        refused = await refusal(services.default, spelling.replace("PORT", str(services.trap.port)))
        assert refused.reason in ADDRESS_REASONS, spelling
        assert refused.message.startswith(("the clip's address cannot be used", "the clip could not be fetched"))
        assert services.trap.connections == 0, spelling


async def test_the_trap_counts_connections(services: ValidationServices) -> None:
    async with Trap() as trap:
        for address in ("127.0.0.1", "127.0.0.2", "::1"):
            _, writer = await asyncio.open_connection(address, trap.port)
            writer.transport.abort()
        async with asyncio.timeout(10):
            while trap.connections < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["93.184.215.14", "127.0.0.1"],
        ["127.0.0.1", "93.184.215.14"],
        ["93.184.215.14", "::1"],
        ["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:127.0.0.1"],
        ["169.254.169.254"],
        [],
    ],
)
async def test_a_name_with_any_private_address_is_refused(
    services: ValidationServices, names: Names, addresses: list[str]
) -> None:
    names.answer("clips.example", addresses)
    refused = await refusal(services.default, f"https://clips.example:{services.trap.port}/clip.mp4")
    assert refused.reason == "CLIP_ADDRESS_REFUSED"
    assert "clips.example leads to a private or reserved network" in refused.message
    assert (names.asked, services.trap.connections) == (["clips.example"], 0)


async def test_a_rebinding_name_is_connected_at_the_checked_address(
    services: ValidationServices, names: Names, site: Site, tmp_path: Path
) -> None:
    """DNS rebinding. 127.0.0.1 stands for the public address; connections to the second address are forbidden."""
    names.answer(NAME, ["127.0.0.1"], ["127.0.0.2"])
    site.file("/clip.mp4", Footage(tmp_path)["silent.mp4"].read_bytes())
    stub = services.permissive.stub(pb_grpc.ValidationServiceStub)
    async with Site(host="127.0.0.2", port=site.port) as second:
        request = pb.ValidateClipRequest(url=site.url("/clip.mp4", NAME))
        *_, last = [update async for update in stub.ValidateClip(request)]
        assert last.HasField("clip")
        assert (len(site.requests), names.asked, second.connections) == (1, [NAME], 0)
        # The second query resolves to a forbidden address: the service connects to neither.
        assert (await refusal(services.permissive, site.url("/clip.mp4", NAME))).reason == "CLIP_ADDRESS_REFUSED"
        assert (len(site.requests), second.connections) == (1, 0)


async def test_a_rebinding_name_is_checked_at_every_redirect(
    services: ValidationServices, names: Names, site: Site
) -> None:
    names.answer(NAME, ["127.0.0.1"], ["127.0.0.1"], ["127.0.0.2"])
    site.redirect("/one", site.url("/two", NAME))
    site.redirect("/two", f"https://{NAME}:{services.trap.port}/three")
    assert (await refusal(services.permissive, site.url("/one", NAME))).reason == "CLIP_ADDRESS_REFUSED"
    assert (len(site.requests), len(names.asked), services.trap.connections) == (2, 3, 0)


LOCATIONS = [
    "https://127.0.0.2:PORT/",
    "https://127.0.0.2.:PORT/",
    "https://[::1]:PORT/",
    "https://0x7f000002:PORT/",
    "https://good@127.0.0.2:PORT/",
    "//127.0.0.2:PORT/",
    "///127.0.0.2:PORT/",
    "\\\\127.0.0.2:PORT\\",
    "http://127.0.0.1:PORT/",
    "https://169.254.169.254/latest/meta-data/",
    "file:///etc/passwd",
    "ftp://127.0.0.1:PORT/",
    "gopher://127.0.0.1:PORT/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "https://",
    "https://[::1",
]


@pytest.mark.parametrize(
    ("status", "location"),
    [*((302, location) for location in LOCATIONS), *((status, LOCATIONS[0]) for status in (301, 303, 307, 308))],
)
async def test_a_redirect_is_checked_like_an_address(
    services: ValidationServices, site: Site, status: int, location: str
) -> None:
    found = location.replace("PORT", str(services.trap.port))
    address = site.respond("/clip.mp4", f"{status} Elsewhere\r\nlocation: {found}")
    refused = await refusal(services.permissive, address)
    assert refused.reason in ADDRESS_REASONS
    assert services.trap.connections == 0


async def test_a_chain_of_redirects_to_a_private_address_is_refused(services: ValidationServices, site: Site) -> None:
    site.redirect("/3", f"https://127.0.0.2:{services.trap.port}/")
    site.redirect("/2", "3")
    site.redirect("/1", site.url("/2"))
    assert (await refusal(services.permissive, site.redirect("/0", "/1"))).reason in ADDRESS_REASONS
    assert services.trap.connections == 0


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ("", '<html><meta http-equiv="refresh" content="0; url={trap}"></html>'),
        ("refresh: 0; url={trap}\r\n", "<html></html>"),
        ("content-location: {trap}\r\n", "<!doctype html>"),
        ("link: <{trap}>; rel=preload\r\n", "<!doctype html>"),
        ('alt-svc: h2="127.0.0.2:{port}"\r\n', "<!doctype html>"),
        ("", "<html><script>location = '{trap}'</script></html>"),
        ("", '<html><iframe src="{trap}"></iframe><img src="{trap}"></html>'),
        ("", "#EXTM3U\n#EXTINF:1,\n{trap}\n"),
    ],
)
async def test_addresses_in_a_page_are_not_followed(
    services: ValidationServices, site: Site, headers: str, body: str
) -> None:
    values = {"trap": f"https://127.0.0.2:{services.trap.port}/", "port": str(services.trap.port)}

    async def page(writer: asyncio.StreamWriter) -> None:
        text = body.format(**values)
        writer.write(f"HTTP/1.1 200 OK\r\n{headers.format(**values)}content-length: {len(text)}\r\n\r\n{text}".encode())

    assert (await refusal(services.permissive, site.page("/clip.mp4", page))).reason == "CLIP_NOT_PLAYABLE"
    assert (services.trap.connections, len(site.requests)) == (0, 1)


async def test_a_proxy_in_the_environment_is_not_used(
    services: ValidationServices, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{services.trap.port}")
    assert (await refusal(services.permissive, site.url("/none"))).message.endswith("404 Not Found")
    assert (services.trap.connections, len(site.requests)) == (0, 1)


async def _drops(writer: asyncio.StreamWriter, first: bytes, drop: bytes) -> None:
    writer.write(first)
    while not writer.is_closing():
        writer.write(drop)
        await writer.drain()
        await asyncio.sleep(0.02)


async def _flood(writer: asyncio.StreamWriter, first: bytes, more: bytes) -> None:
    writer.write(first)
    while not writer.is_closing():
        writer.write(more)
        await writer.drain()
        # `drain` does not yield when the peer has gone, and the loss would never be noticed.
        await asyncio.sleep(0)


async def _once(writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer)


BOMB = gzip.compress(bytes(50_000_000), 9)
OK = b"HTTP/1.1 200 OK\r\n"
BODIES: dict[str, tuple[Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]], str]] = {
    "zeros without end": (lambda to: _flood(to, OK + b"\r\n", bytes(65536)), "CLIP_TOO_LARGE"),
    "chunks without end": (
        lambda to: _flood(to, OK + b"transfer-encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(65536) + b"\r\n"),
        "CLIP_TOO_LARGE",
    ),
    "a promise of too much": (lambda to: _once(to, OK + b"content-length: 1000001\r\n\r\n"), "CLIP_TOO_LARGE"),
    "a promise of 10^30": (lambda to: _once(to, OK + b"content-length: 1" + b"0" * 30 + b"\r\n\r\n"), "*"),
    "less than nothing": (lambda to: _once(to, OK + b"content-length: -1\r\n\r\nx"), "CLIP_UNREACHABLE"),
    "two lengths": (
        lambda to: _once(to, OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx"),
        "CLIP_UNREACHABLE",
    ),
    "less than promised": (lambda to: _once(to, OK + b"content-length: 1000\r\n\r\nbegin"), "CLIP_UNREACHABLE"),
    "more than promised": (lambda to: _once(to, OK + b"content-length: 4\r\n\r\n" + b"x" * 4000), "CLIP_NOT_PLAYABLE"),
    "a body in drops": (lambda to: _drops(to, OK + b"content-length: 900000\r\n\r\n", b"x"), "CLIP_UNREACHABLE"),
    "headers in drops": (lambda to: _drops(to, OK, b"x"), "CLIP_UNREACHABLE"),
    "headers without end": (lambda to: _flood(to, OK, b"x-more: " + b"y" * 1000 + b"\r\n"), "CLIP_UNREACHABLE"),
    "a line without end": (lambda to: _flood(to, b"HTTP/1.1 200 ", b"x" * 65536), "CLIP_UNREACHABLE"),
    "continuations without end": (lambda to: _flood(to, b"", b"HTTP/1.1 103 More\r\n\r\n"), "CLIP_UNREACHABLE"),
    "a bomb of gzip": (
        lambda to: _once(to, OK + b"content-encoding: gzip\r\n\r\n" + BOMB),
        "CLIP_UNREACHABLE",
    ),
    "a bomb in the transfer": (
        lambda to: _once(to, OK + b"transfer-encoding: gzip, chunked\r\n\r\n" + BOMB),
        "CLIP_UNREACHABLE",
    ),
    "an undeclared bomb": (lambda to: _once(to, OK + b"\r\n" + BOMB), "CLIP_NOT_PLAYABLE"),
    "silence": (lambda to: asyncio.sleep(3600), "CLIP_UNREACHABLE"),
    "no HTTP": (lambda to: _once(to, b"220 here is mail\r\n"), "CLIP_UNREACHABLE"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_no_response_exceeds_the_limits_of_time_and_size(
    services: ValidationServices, site: Site, name: str
) -> None:
    send, reason = BODIES[name]

    async def page(writer: asyncio.StreamWriter) -> None:
        sending, closing = asyncio.create_task(send(writer)), asyncio.create_task(site.closing.wait())
        await asyncio.wait({sending, closing}, return_when=asyncio.FIRST_COMPLETED)
        sending.cancel()
        closing.cancel()

    began = asyncio.get_running_loop().time()
    refused = await refusal(services.permissive, site.page("/clip.mp4", page))
    # The limit is one second. Even on a busy machine the fetch must end long before the attacker's response does.
    assert asyncio.get_running_loop().time() - began < 30
    assert refused.reason == reason or reason == "*"
    assert not [path for path in services.scratch.glob("validation-*/*/*") if path.exists()]
