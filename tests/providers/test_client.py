"""The client of a provider, over real HTTP: limits, the kinds of failures, rotation of keys, and no key in any text."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.providers.breaker import Breaker
from services.providers.client import Authentication, ProviderClient
from services.providers.failures import FailureKind, ProviderFailure
from services.providers.keys import KeyRing
from services.providers.responses import read_codes, read_retry_after
from tests.providers.provider_server import HTML, STALLED, Answer, Clock, ProviderServer, Request, json_answer

KEYS = ("sk-first-4711", "sk-second-4712")
JSON = {"content-type": "application/json"}


@pytest.fixture
async def server() -> AsyncIterator[ProviderServer]:
    async with ProviderServer() as running:
        yield running


def open_client(server: ProviderServer, *keys: str, clock: Clock | None = None, **limits: Any) -> ProviderClient:
    clock = clock or Clock()
    return ProviderClient(
        "acme", f"{server.url}/v1/", KeyRing("acme", keys, clock), breaker=Breaker("acme", clock), **limits
    )


async def call(server: ProviderServer, *answers: Answer, keys: tuple[str, ...] = KEYS[:1], **limits: Any) -> Any:
    server.answers[:] = answers
    client = open_client(server, *keys, **limits)
    try:
        return await client.request_json("POST", "/things", json={"a": "ü"}, params={"q": "x y"})
    finally:
        await client.aclose()


async def test_a_call_has_the_key_and_the_body(server: ProviderServer) -> None:
    assert await call(server) == {"path": "/v1/things"}
    (request,) = server.requests
    assert (request.method, request.json(), request.query) == ("POST", {"a": "ü"}, {"q": "x y"})
    assert request.headers["authorization"] == "Bearer sk-first-4711"
    assert request.headers["user-agent"] == "MoneyPrinter"


QUOTA = json_answer({"error": {"message": "sk-first-4711 is out of credit", "code": "insufficient_quota"}}, 429)
FAILURES = {
    "401": (json_answer({"error": {"code": "invalid_api_key"}}, 401), FailureKind.UNAUTHORIZED, "refuses the key"),
    "403": (Answer(403), FailureKind.UNAUTHORIZED, "refuses the key"),
    "400 for a wrong key, as Google": (
        json_answer({"error": {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}, 400),
        *(FailureKind.UNAUTHORIZED, "refuses the key"),
    ),
    "402": (Answer(402), FailureKind.QUOTA_EXHAUSTED, "add credit"),
    "429 for a quota": (QUOTA, FailureKind.QUOTA_EXHAUSTED, "add credit"),
    "401 for a quota": (
        json_answer({"detail": {"status": "quota_exceeded"}}, 401),
        FailureKind.QUOTA_EXHAUSTED,
        "credit",
    ),
    "429": (json_answer({}, 429, retry_after="7"), FailureKind.RATE_LIMITED, "limits the number"),
    "500": (Answer(500, b"Traceback ..."), FailureKind.UNAVAILABLE, "HTTP 500"),
    "404": (json_answer({"error": {"code": "voice_not_found"}}, 404), FailureKind.REFUSED, "voice_not_found"),
    "slow first byte": (STALLED, FailureKind.TIMEOUT, "within 0.2 s"),
    "slow body": (Answer(200, b"{}" * 99, JSON, stalls_at=10), FailureKind.TIMEOUT, "within 0.2 s"),
    "slow error": (Answer(500, b"x" * 99, stalls_at=10), FailureKind.TIMEOUT, "within 0.2 s"),
    "cut": (Answer(200, b'{"a": 1}', JSON, cut_at=4), FailureKind.UNAVAILABLE, "broke off"),
    "HTML": (HTML, FailureKind.BAD_RESPONSE, "text/html"),
    "no type": (Answer(200, b"{}"), FailureKind.BAD_RESPONSE, "unknown type"),
    "JSON and more": (Answer(200, b"{} and more", JSON), FailureKind.BAD_RESPONSE, "not valid JSON"),
    "deep JSON": (Answer(200, b"[" * 1900, JSON), FailureKind.BAD_RESPONSE, "not valid JSON"),
    "too large": (Answer(200, b'"' + b"x" * 3000 + b'"', JSON), FailureKind.BAD_RESPONSE, "more than 2000 bytes"),
    "compressed": (Answer(200, b"xx", {**JSON, "content-encoding": "gzip"}), FailureKind.BAD_RESPONSE, "compressed"),
    "redirect": (Answer(302, b"", {"location": "http://127.0.0.1:1/"}), FailureKind.BAD_RESPONSE, "redirects"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_each_failure_has_its_kind_and_a_plain_message(server: ProviderServer, name: str) -> None:
    answer, kind, words = FAILURES[name]
    with pytest.raises(ProviderFailure, match=words) as raised:
        await call(server, answer, timeout_seconds=0.2, max_response_bytes=2000)
    failure = raised.value
    assert (failure.provider, failure.kind) == ("acme", kind)
    assert failure.retry_after == (timedelta(seconds=7) if name == "429" else None)
    assert len(server.requests) == 1, "no redirect is followed, and nothing is repeated"
    for text in (str(failure), repr(failure), failure.message, failure.code):
        assert "sk-first" not in text
        assert "Traceback" not in text
        assert "127.0.0.1" not in text


async def test_a_server_that_is_not_there(server: ProviderServer) -> None:
    client = ProviderClient("acme", "http://127.0.0.1:1", None)
    with pytest.raises(ProviderFailure, match="cannot be reached") as raised:
        await client.request_json("GET", "/models")
    assert raised.value.kind is FailureKind.UNAVAILABLE
    await client.aclose()


async def test_bytes_are_neither_empty_nor_a_page(server: ProviderServer) -> None:
    client = open_client(server, *KEYS)
    server.answers = [
        Answer(200, b"RIFF", {"content-type": "audio/wav"}),
        Answer(200, b"", {"content-type": "audio/wav"}),
    ]
    server.answers += [HTML, json_answer({"error": "none"}), Answer(200, b"x", {"content-type": "image/png"})]
    assert await client.request_bytes("POST", "/speech") == ("audio/wav", b"RIFF")
    for words in ("is empty", "text/html", "application/json"):
        with pytest.raises(ProviderFailure, match=words):
            await client.request_bytes("POST", "/speech")
    with pytest.raises(ProviderFailure, match="image/png"):
        await client.request_bytes("POST", "/speech", content_types=("audio/",))
    await client.aclose()


async def test_a_limited_key_rests_until_its_reset_and_the_next_one_is_used(server: ProviderServer) -> None:
    clock = Clock()
    client = open_client(server, *KEYS, clock=clock)
    server.answers = [json_answer({}, 429, retry_after="50")]
    await client.request_json("GET", "/a")
    await client.request_json("GET", "/b")
    clock.now += 50
    await client.request_json("GET", "/c")
    used = [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]
    assert used == [KEYS[0], KEYS[1], KEYS[1], KEYS[0]]
    assert client.breaker.state == "closed"
    await client.aclose()


async def test_when_every_key_rests_nothing_is_sent_until_the_first_reset(server: ProviderServer) -> None:
    clock = Clock()
    client = open_client(server, *KEYS, clock=clock)
    server.answers = [json_answer({}, 429, retry_after="50"), Answer(401)]
    with pytest.raises(ProviderFailure, match="limits the calls of every key") as raised:
        await client.request_json("GET", "/a")
    assert (raised.value.kind, raised.value.retry_after) == (FailureKind.RATE_LIMITED, timedelta(seconds=50))
    assert client.breaker.state == "open"
    clock.now += 49
    with pytest.raises(ProviderFailure, match="not called for now"):
        await client.request_json("GET", "/a")
    assert len(server.requests) == 2
    clock.now += 1
    await client.request_json("GET", "/a")
    assert client.breaker.state == "closed"
    await client.aclose()


async def test_five_failures_open_the_breaker_and_one_probe_closes_it(server: ProviderServer) -> None:
    clock = Clock()
    client = open_client(server, *KEYS, clock=clock)
    server.answers = [Answer(500)] * 5
    for _ in range(7):
        with pytest.raises(ProviderFailure):
            await client.request_json("GET", "/a")
    assert len(server.requests) == 5
    clock.now += 30
    calls = (client.request_json("GET", "/a") for _ in range(5))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert len(server.requests) == 6, "one call probes"
    assert sum(isinstance(outcome, ProviderFailure) for outcome in outcomes) == 4
    assert client.breaker.state == "closed"
    await client.aclose()


async def test_a_key_appears_in_no_log_and_no_representation(server: ProviderServer) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logging.getLogger().addHandler(handler)
    try:
        keys = KeyRing("acme", KEYS)
        client = ProviderClient("acme", server.url, keys, lambda key: Authentication(params={"key": key}))
        await client.request_json("GET", "/a")
        assert server.requests[0].query == {"key": KEYS[0]}
        server.answers = [Answer(500)]
        with pytest.raises(ProviderFailure) as raised:
            await client.request_json("GET", "/a")
        await client.aclose()
    finally:
        logging.getLogger().removeHandler(handler)
    texts = [written.getvalue(), repr(client), repr(keys), str(raised.value), str(Authentication({"a": KEYS[0]}))]
    chain: BaseException | None = raised.value
    while chain is not None:
        texts.append(repr(chain))
        chain = chain.__cause__
    assert not [text for text in texts if "sk-" in text]


async def test_a_server_without_keys_gets_none(server: ProviderServer) -> None:
    client = ProviderClient("ollama", server.url, None)
    await client.request_json("GET", "/v1/models")
    assert "authorization" not in server.requests[0].headers
    await client.aclose()


def test_retry_after_is_read_in_all_its_forms() -> None:
    now = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)
    cases = {
        ("retry-after", "7"): 7,
        ("retry-after", "0"): 1,
        ("retry-after", "Mon, 30 Nov 2026 12:01:30 GMT"): 90,
        ("retry-after", "Mon, 30 Nov 2026 11:00:00 GMT"): 1,
        ("retry-after", "99999999999"): 3600,
        ("retry-after", "soon"): None,
        ("retry-after", "-5"): None,
        ("x-ratelimit-reset", "42"): 42,
        ("x-ratelimit-reset", str(int(now.timestamp()) + 60)): 60,
        ("x-other", "1"): None,
    }
    for (name, value), seconds in cases.items():
        read = read_retry_after({name: value}, now)
        assert read == (None if seconds is None else timedelta(seconds=seconds)), (name, value)


def test_only_short_codes_are_read_from_a_body() -> None:
    assert read_codes(b'{"error": {"type": "server_error", "code": "insufficient_quota"}}')[0] == "insufficient_quota"
    for value in ("sk-4711", "http://x", "a sentence", "x" * 99, 'sk_live_9"'):
        assert read_codes(replace(json_answer({"error": {"code": value}})).body) == []
    for body in (b"", b"<html>", b"[" * 5000, b"\xff", b'"code"', b"null"):
        assert read_codes(body) == []


def test_the_schema_of_a_server_refuses_unknown_fields() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    request = Request("POST", "/", {}, {}, b'{"a": "x", "b": 1}')
    assert "'b' was unexpected" in ProviderServer().check(request, schema)
