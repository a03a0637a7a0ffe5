"""Web: clips are fetched from public addresses only, and every failure has a reason and a message."""

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
from services.validation.web import FetchRules, Resolve, WebClient, create_tls_context, resolve_host
from tests.validation.site import Site

RULES = FetchRules(
    connect_seconds=5.0, total_seconds=20.0, max_redirects=3, allowed_networks=(ip_network("127.0.0.0/8"),)
)
CLOSED = replace(RULES, allowed_networks=())
BODY = bytes(range(256)) * 4096
NAME = "gateway.moneyprinter.svc"


@pytest.fixture(scope="session")
def trusted(certificates: Path) -> ssl.SSLContext:
    """A TLS context that trusts the authority of the tests."""
    return create_tls_context(certificates / "ca.pem")


def resolver(*rounds: Sequence[str]) -> Resolve:
    """A resolver that returns the next of some answers on each call."""
    remaining: AsyncIterator[Sequence[str]] = _each(rounds)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return await anext(remaining)

    return resolve


async def _each(rounds: Sequence[Sequence[str]]) -> AsyncIterator[Sequence[str]]:
    for one in rounds:
        yield one


async def fetch(web: WebClient, address: str) -> bytes:
    async with web.open(address) as download:
        return b"".join([chunk async for chunk in download.chunks])


async def refusal(web: WebClient, address: str) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as refused:
        await fetch(web, address)
    return refused.value


async def test_a_file_is_fetched_completely(site: Site, trusted: ssl.SSLContext) -> None:
    address = site.file("/clip.mp4?token=a%20b", BODY)
    async with WebClient(RULES, trusted).open(address + "#t=5") as download:
        assert download.size_bytes == len(BODY)
        assert b"".join([chunk async for chunk in download.chunks]) == BODY
    assert f"host: 127.0.0.1:{site.port}" in site.requests[0].lower()


async def test_a_file_of_unknown_size_is_fetched_completely(site: Site, trusted: ssl.SSLContext) -> None:
    async with WebClient(RULES, trusted).open(site.file("/clip.mp4", BODY, send_length=False)) as download:
        assert download.size_bytes is None
        assert b"".join([chunk async for chunk in download.chunks]) == BODY


async def test_redirects_are_followed(site: Site, trusted: ssl.SSLContext) -> None:
    site.file("/d.mp4", BODY)
    site.redirect("/c", "d.mp4")
    site.redirect("/b", site.url("/c"))
    assert await fetch(WebClient(RULES, trusted), site.redirect("/a", "/b")) == BODY


async def test_a_host_is_resolved_once_and_verified_by_tls(site: Site, trusted: ssl.SSLContext) -> None:
    site.file("/clip.mp4", BODY)
    # A second lookup would fail: the connection uses the checked address.
    web = WebClient(replace(RULES, allowed_networks=(ip_network("127.0.0.1/32"),)), trusted, resolver(["127.0.0.1"]))
    assert await fetch(web, site.url("/clip.mp4", NAME)) == BODY
    assert f"host: {NAME}:{site.port}" in site.requests[0].lower()


async def test_the_next_address_of_a_host_is_tried_after_a_failure(site: Site, trusted: ssl.SSLContext) -> None:
    site.file("/clip.mp4", BODY)
    assert (
        await fetch(WebClient(RULES, trusted, resolver(["127.0.0.9", "127.0.0.1"])), site.url("/clip.mp4", NAME))
        == BODY
    )


async def test_a_host_with_one_private_address_is_refused(site: Site, trusted: ssl.SSLContext) -> None:
    web = WebClient(CLOSED, trusted, resolver(["8.8.8.8", "127.0.0.1"]))
    assert (await refusal(web, site.url("/clip.mp4", NAME))).reason == "CLIP_ADDRESS_REFUSED"
    assert site.connections == 0


async def test_a_rebinding_host_is_refused_at_the_redirect(site: Site, trusted: ssl.SSLContext) -> None:
    rules = replace(RULES, allowed_networks=(ip_network("127.0.0.1/32"),))
    async with Site(host="127.0.0.2") as trap:
        site.redirect("/clip.mp4", f"https://{NAME}:{trap.port}/")
        web = WebClient(rules, trusted, resolver(["127.0.0.1"], ["127.0.0.2"]))
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
    refused = await refusal(WebClient(CLOSED, trusted), site.url("/", host))
    assert refused.reason in {"CLIP_ADDRESS_REFUSED", "CLIP_UNREACHABLE"}
    assert site.connections == 0


@pytest.mark.parametrize("host", ["169.254.169.254", "0xA9FEA9FE", "2852039166", "[::ffff:a9fe:a9fe]", "10.0.0.1"])
async def test_metadata_and_private_networks_are_refused(trusted: ssl.SSLContext, host: str) -> None:
    refused = await refusal(WebClient(CLOSED, trusted), f"https://{host}/latest/meta-data/")
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
async def test_only_https_addresses_are_accepted(trusted: ssl.SSLContext, address: str) -> None:
    refused = await refusal(WebClient(CLOSED, trusted), address)
    assert refused.reason == "CLIP_ADDRESS_REFUSED"
    assert "secret" not in refused.message


@pytest.mark.parametrize("location", ["http://127.0.0.1:{port}/", "file:///etc/passwd", "https://169.254.169.254/"])
async def test_a_redirect_to_a_refused_address_is_refused(site: Site, trusted: ssl.SSLContext, location: str) -> None:
    async with Site() as trap:
        address = site.redirect("/clip.mp4", location.format(port=trap.port))
        assert (await refusal(WebClient(RULES, trusted), address)).reason == "CLIP_ADDRESS_REFUSED"
        assert trap.connections == 0


async def test_endless_redirects_are_refused(site: Site, trusted: ssl.SSLContext) -> None:
    refused = await refusal(WebClient(RULES, trusted), site.redirect("/loop", "/loop"))
    assert (refused.reason, site.connections) == ("CLIP_UNREACHABLE", 4)
    assert "redirects more than 3 times" in refused.message


async def test_http_is_accepted_if_allowed(trusted: ssl.SSLContext) -> None:
    async with Site() as plain:
        assert await fetch(WebClient(replace(RULES, allow_http=True), trusted), plain.file("/clip.mp4", BODY)) == BODY


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
async def test_an_error_response_is_reported(site: Site, trusted: ssl.SSLContext, head: str, words: str) -> None:
    refused = await refusal(WebClient(RULES, trusted), site.respond("/clip.mp4", head))
    assert refused.reason == "CLIP_UNREACHABLE"
    assert words in refused.message


async def test_a_stalled_body_times_out(site: Site, trusted: ssl.SSLContext) -> None:
    refused = await refusal(WebClient(replace(RULES, total_seconds=0.3), trusted), site.stalled("/clip.mp4"))
    assert refused.reason == "CLIP_UNREACHABLE"
    assert "within 0.3 s" in refused.message


async def test_a_truncated_body_is_reported(site: Site, trusted: ssl.SSLContext) -> None:
    async def page(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegin")

    refused = await refusal(WebClient(RULES, trusted), site.page("/clip.mp4", page))
    assert refused.reason == "CLIP_UNREACHABLE"
    assert "broke" in refused.message


async def test_a_silent_server_times_out(trusted: ssl.SSLContext) -> None:
    async with Site() as mute:
        web = WebClient(replace(RULES, connect_seconds=0.2), trusted)
        refused = await refusal(web, f"https://127.0.0.1:{mute.port}/")
        assert refused.reason == "CLIP_UNREACHABLE"
        assert "did not answer within 0.2 s" in refused.message


async def test_a_refused_connection_is_reported(trusted: ssl.SSLContext) -> None:
    async with Site() as gone:
        address = f"https://127.0.0.1:{gone.port}/"
    refused = await refusal(WebClient(RULES, trusted), address)
    assert refused.reason == "CLIP_UNREACHABLE"
    assert "refuses the connection" in refused.message


async def test_an_unknown_host_is_reported(trusted: ssl.SSLContext) -> None:
    refused = await refusal(WebClient(RULES, trusted, resolve_host), "https://clips.invalid/a.mp4")
    assert refused.reason == "CLIP_UNREACHABLE"
    assert "no host of the name clips.invalid" in refused.message


async def test_a_certificate_of_an_unknown_authority_is_refused(site: Site) -> None:
    refused = await refusal(WebClient(RULES, create_tls_context(None)), site.file("/clip.mp4", BODY))
    assert refused.reason == "CLIP_UNREACHABLE"
    assert "certificate cannot be trusted" in refused.message
    assert site.requests == []


async def test_a_certificate_for_another_name_is_refused(site: Site, trusted: ssl.SSLContext) -> None:
    web = WebClient(RULES, trusted, resolver(["127.0.0.1"]))
    refused = await refusal(web, site.url("/clip.mp4", "clips.example"))
    assert refused.reason == "CLIP_UNREACHABLE"
    assert "certificate cannot be trusted" in refused.message
    assert site.requests == []


async def test_the_internal_authority_is_not_trusted_for_the_web(certificates: Path, tmp_path: Path) -> None:
    authority.issue_certificates(tmp_path, ["gateway"], trust_domain="cluster.local", namespace="moneyprinter")
    foreign = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    foreign.load_cert_chain(tmp_path / "gateway" / "cert.pem", tmp_path / "gateway" / "key.pem")
    async with Site(foreign) as site:
        refused = await refusal(
            WebClient(RULES, create_tls_context(certificates / "ca.pem")), site.file("/clip.mp4", BODY)
        )
    assert "certificate cannot be trusted" in refused.message
