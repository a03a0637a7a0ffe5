"""How clips come from the web, and every way in which they do not: nothing private is ever touched."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from moneyprinter.errors import InvalidArgument
from services.embedded import authority
from services.validation.web import Resolve, Rules, Web, resolve, trust
from tests.validation.site import Site

RULES = Rules(connect_seconds=5.0, total_seconds=20.0, max_redirects=3, allowed_networks=(ip_network("127.0.0.0/8"),))
CLOSED = replace(RULES, allowed_networks=())
BODY = bytes(range(256)) * 4096
NAME = "gateway.moneyprinter.svc"


@pytest.fixture(scope="session")
def trusted(certificates: Path) -> ssl.SSLContext:
    """Trust in the authority of the tests."""
    return trust(certificates / "ca.pem")


def answers(*rounds: Sequence[str]) -> Resolve:
    """A resolver that answers something else each time."""
    left: AsyncIterator[Sequence[str]] = _each(rounds)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return await anext(left)

    return resolve


async def _each(rounds: Sequence[Sequence[str]]) -> AsyncIterator[Sequence[str]]:
    for one in rounds:
        yield one


async def fetch(web: Web, address: str) -> bytes:
    async with web.open(address) as download:
        return b"".join([chunk async for chunk in download.chunks])


async def refusal(web: Web, address: str) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as refused:
        await fetch(web, address)
    return refused.value


async def test_a_file_comes_whole(site: Site, trusted: ssl.SSLContext) -> None:
    address = site.file("/clip.mp4?token=a%20b", BODY)
    async with Web(RULES, trusted).open(address + "#t=5") as download:
        assert download.size_bytes == len(BODY)
        assert b"".join([chunk async for chunk in download.chunks]) == BODY
    assert f"host: 127.0.0.1:{site.port}" in site.requests[0].lower()


async def test_a_file_of_unknown_size_comes_whole(site: Site, trusted: ssl.SSLContext) -> None:
    async with Web(RULES, trusted).open(site.file("/clip.mp4", BODY, tell_size=False)) as download:
        assert download.size_bytes is None
        assert b"".join([chunk async for chunk in download.chunks]) == BODY


async def test_redirects_are_followed(site: Site, trusted: ssl.SSLContext) -> None:
    site.file("/d.mp4", BODY)
    site.redirect("/c", "d.mp4")
    site.redirect("/b", site.url("/c"))
    assert await fetch(Web(RULES, trusted), site.redirect("/a", "/b")) == BODY


async def test_a_name_is_looked_up_once_and_verified(site: Site, trusted: ssl.SSLContext) -> None:
    site.file("/clip.mp4", BODY)
    # The second answer is never asked for: what was checked is what is connected.
    web = Web(replace(RULES, allowed_networks=(ip_network("127.0.0.1/32"),)), trusted, answers(["127.0.0.1"]))
    assert await fetch(web, site.url("/clip.mp4", NAME)) == BODY
    assert f"host: {NAME}:{site.port}" in site.requests[0].lower()


async def test_the_next_address_of_a_host_is_tried(site: Site, trusted: ssl.SSLContext) -> None:
    site.file("/clip.mp4", BODY)
    assert await fetch(Web(RULES, trusted, answers(["127.0.0.9", "127.0.0.1"])), site.url("/clip.mp4", NAME)) == BODY


async def test_a_host_with_one_private_address_is_refused(site: Site, trusted: ssl.SSLContext) -> None:
    web = Web(CLOSED, trusted, answers(["8.8.8.8", "127.0.0.1"]))
    assert (await refusal(web, site.url("/clip.mp4", NAME))).reason == "CLIP_ADDRESS_REFUSED"
    assert site.connections == 0


async def test_a_name_that_changes_its_mind_is_refused_at_the_redirect(site: Site, trusted: ssl.SSLContext) -> None:
    rules = replace(RULES, allowed_networks=(ip_network("127.0.0.1/32"),))
    async with Site(host="127.0.0.2") as trap:
        site.redirect("/clip.mp4", f"https://{NAME}:{trap.port}/")
        web = Web(rules, trusted, answers(["127.0.0.1"], ["127.0.0.2"]))
        assert (await refusal(web, site.url("/clip.mp4", NAME))).reason == "CLIP_ADDRESS_REFUSED"
        assert trap.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "127.1", "0177.0.0.1", "0x7f.1", "0x7f000001", "2130706433", "0.0.0.0"),  # noqa: S104
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "127.0.0.1.", "①②⑦.0.0.1"),
        *("[64:ff9b::7f00:1]", "[2002:7f00:1::]", "public.example@127.0.0.1", "127.0.0.1%2f@127.0.0.1"),
    ],
)
async def test_no_spelling_of_a_private_address_is_connected(site: Site, trusted: ssl.SSLContext, host: str) -> None:
    refused = await refusal(Web(CLOSED, trusted), site.url("/", host))
    assert refused.reason in {"CLIP_ADDRESS_REFUSED", "CLIP_UNREACHABLE"}
    assert site.connections == 0


@pytest.mark.parametrize("host", ["169.254.169.254", "0xA9FEA9FE", "2852039166", "[::ffff:a9fe:a9fe]", "10.0.0.1"])
async def test_metadata_and_private_networks_are_refused(trusted: ssl.SSLContext, host: str) -> None:
    refused = await refusal(Web(CLOSED, trusted), f"https://{host}/latest/meta-data/")
    assert refused.reason == "CLIP_ADDRESS_REFUSED"
    assert "private or reserved network" in refused.message


@pytest.mark.parametrize(
    "address",
    [
        *("http://example.com/a.mp4", "file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/a", "data:,x"),
        *("", "clip.mp4", "//example.com/a", "https://", "https:///a.mp4", "https://[::1", "\0"),
        *("https://user:secret@example.com/a.mp4", "https://example.com:99999/"),
    ],
)
async def test_only_https_addresses_are_taken(trusted: ssl.SSLContext, address: str) -> None:
    refused = await refusal(Web(CLOSED, trusted), address)
    assert refused.reason == "CLIP_ADDRESS_REFUSED"
    assert "secret" not in refused.message


@pytest.mark.parametrize("location", ["http://127.0.0.1:{port}/", "file:///etc/passwd", "https://169.254.169.254/"])
async def test_a_redirect_to_where_no_clip_may_come_from_is_refused(
    site: Site, trusted: ssl.SSLContext, location: str
) -> None:
    async with Site() as trap:
        address = site.redirect("/clip.mp4", location.format(port=trap.port))
        assert (await refusal(Web(RULES, trusted), address)).reason == "CLIP_ADDRESS_REFUSED"
        assert trap.connections == 0


async def test_redirects_end(site: Site, trusted: ssl.SSLContext) -> None:
    refused = await refusal(Web(RULES, trusted), site.redirect("/loop", "/loop"))
    assert (refused.reason, site.connections) == ("CLIP_UNREACHABLE", 4)
    assert "redirects more than 3 times" in refused.message


async def test_http_is_taken_where_it_is_allowed(trusted: ssl.SSLContext) -> None:
    async with Site() as plain:
        assert await fetch(Web(replace(RULES, allow_http=True), trusted), plain.file("/clip.mp4", BODY)) == BODY


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("404 Not Found", "answered 404 Not Found"),
        ("500 Oops", "answered 500 Internal Server Error"),
        ("204 No Content", "answered 204"),
        ("799 Odd", "answered 799"),
        ("302 Found", "answered 302"),
        ("200 OK\r\ncontent-encoding: gzip", "compressed"),
    ],
)
async def test_an_answer_without_the_file_is_told(site: Site, trusted: ssl.SSLContext, head: str, words: str) -> None:
    refused = await refusal(Web(RULES, trusted), site.answer("/clip.mp4", head))
    assert refused.reason == "CLIP_UNREACHABLE"
    assert words in refused.message


async def test_a_body_that_stalls_is_given_up(site: Site, trusted: ssl.SSLContext) -> None:
    refused = await refusal(Web(replace(RULES, total_seconds=0.3), trusted), site.stalled("/clip.mp4"))
    assert refused.reason == "CLIP_UNREACHABLE"
    assert "within 0.3 s" in refused.message


async def test_a_body_that_is_cut_is_told(site: Site, trusted: ssl.SSLContext) -> None:
    async def page(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegin")

    refused = await refusal(Web(RULES, trusted), site.page("/clip.mp4", page))
    assert refused.reason == "CLIP_UNREACHABLE"
    assert "broke" in refused.message


async def test_a_server_that_never_speaks_is_given_up(trusted: ssl.SSLContext) -> None:
    async with Site() as mute:
        web = Web(replace(RULES, connect_seconds=0.2), trusted)
        refused = await refusal(web, f"https://127.0.0.1:{mute.port}/")
        assert refused.reason == "CLIP_UNREACHABLE"
        assert "did not answer within 0.2 s" in refused.message


async def test_a_port_on_which_nobody_listens_is_told(trusted: ssl.SSLContext) -> None:
    async with Site() as gone:
        address = f"https://127.0.0.1:{gone.port}/"
    refused = await refusal(Web(RULES, trusted), address)
    assert refused.reason == "CLIP_UNREACHABLE"
    assert "refuses the connection" in refused.message


async def test_a_name_that_nobody_knows_is_told(trusted: ssl.SSLContext) -> None:
    refused = await refusal(Web(RULES, trusted, resolve), "https://clips.invalid/a.mp4")
    assert refused.reason == "CLIP_UNREACHABLE"
    assert "no host of the name clips.invalid" in refused.message


async def test_a_certificate_of_an_unknown_authority_is_refused(site: Site) -> None:
    refused = await refusal(Web(RULES, trust(None)), site.file("/clip.mp4", BODY))
    assert refused.reason == "CLIP_UNREACHABLE"
    assert "certificate cannot be trusted" in refused.message
    assert site.requests == []


async def test_a_certificate_of_another_name_is_refused(site: Site, trusted: ssl.SSLContext) -> None:
    web = Web(RULES, trusted, answers(["127.0.0.1"]))
    refused = await refusal(web, site.url("/clip.mp4", "clips.example"))
    assert refused.reason == "CLIP_UNREACHABLE"
    assert "certificate cannot be trusted" in refused.message
    assert site.requests == []


async def test_the_authorities_of_the_platform_itself_are_not_those_of_the_web(
    certificates: Path, tmp_path: Path
) -> None:
    authority.issue_certificates(tmp_path, ["gateway"], trust_domain="cluster.local", namespace="moneyprinter")
    foreign = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    foreign.load_cert_chain(tmp_path / "gateway" / "cert.pem", tmp_path / "gateway" / "key.pem")
    async with Site(foreign) as site:
        refused = await refusal(Web(RULES, trust(certificates / "ca.pem")), site.file("/clip.mp4", BODY))
    assert "certificate cannot be trusted" in refused.message
