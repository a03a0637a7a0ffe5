"""Moderation by a provider, over HTTP: what it flags, and how each of its failures leaves the rules in charge."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
import structlog

from moneyprinter import errors
from moneyprinter.content.v1 import content_service_pb2 as pb
from moneyprinter.content.v1 import content_service_pb2_grpc as pb_grpc
from services.config.config import Config as SecretsConfig
from services.content.config import Config
from services.content.moderation.moderation import FieldText, Moderator, describe_flags
from services.content.moderation.openai_moderation import OpenAiModeration
from services.content.moderation.policy import Category, parse_policy
from services.providers.credentials import Credentials
from tests.mesh import Mesh
from tests.providers.moderation_server import CATEGORIES, KEY, ModerationServer, error_answer
from tests.providers.provider_server import HTML, STALLED, Answer, json_answer

BY_RULES = FieldText("audio.script", "Kill yourself.")
BY_PROVIDER = FieldText("title", "A veiled threat [hate/threatening]")
FLAGGED = "the text may break the rules of this platform"


@pytest.fixture
async def server() -> AsyncIterator[ModerationServer]:
    async with ModerationServer() as server:
        yield server
        assert server.violations == []


@asynccontextmanager
async def open_moderation() -> AsyncIterator[OpenAiModeration]:
    moderation = OpenAiModeration()
    async with aclosing(moderation.providers):
        yield moderation


@pytest.fixture
async def provider(server: ModerationServer) -> AsyncIterator[OpenAiModeration]:
    async with open_moderation() as provider:
        await provider.providers.replace({"openai-moderation": Credentials((KEY,), f"{server.url}/v1")})
        yield provider


@pytest.mark.parametrize("name", CATEGORIES)
async def test_every_published_category_has_one_of_the_policy(provider: OpenAiModeration, name: str) -> None:
    [nothing, found] = await provider.classify(["A walk", f"A text [{name}]"], 5.0)
    assert list(nothing) == []
    plain = "sexual_minors" if name == "sexual/minors" else name.partition("/")[0].replace("-", "_")
    assert list(found) == [Category(plain)]


async def test_the_provider_adds_to_the_rules(provider: OpenAiModeration) -> None:
    findings = await Moderator(provider=provider).check([BY_PROVIDER, BY_RULES, FieldText("x", "[violence]")], 5.0)
    assert describe_flags(findings) == [
        f"title: {FLAGGED} (category hate, characters 0 to {len(BY_PROVIDER.text)})",
        f"audio.script: {FLAGGED} (category harassment, characters 0 to 13)",
    ]


async def test_a_place_that_a_rule_has_found_is_reported_once(provider: OpenAiModeration) -> None:
    findings = await Moderator(provider=provider).check([FieldText("x", "Kill yourself [harassment]")], 5.0)
    assert [(finding.match.start, finding.match.end) for finding in findings] == [(0, 13)]


async def test_many_texts_are_several_calls(server: ModerationServer, provider: OpenAiModeration) -> None:
    texts = [f"Text {number}" + " [illicit]" * (number == 69) for number in range(70)]
    found = await provider.classify(texts, 5.0)
    assert [index for index, categories in enumerate(found) if categories] == [69]
    assert [len(request.json()["input"]) for request in server.requests] == [32, 32, 6]


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (error_answer(401, "invalid_api_key"), "key"),
        (error_answer(429, "rate_limit_exceeded", retry_after="7"), "openai-moderation"),
        (error_answer(429, "insufficient_quota"), "quota"),
        (error_answer(500, "server_error"), "openai-moderation"),
        (HTML, "text/html"),
        (Answer(200, b"{", {"content-type": "application/json"}), "JSON"),
        (json_answer({"results": []}), "result"),
        (json_answer({"results": [{"flagged": True}] * 2}), "categories"),
        (json_answer([1]), "result"),
        (Answer(200, b"{" * 2_000_000, {"content-type": "application/json"}), "bytes"),
        (STALLED, "did not answer"),
        (Answer(200, b"{}", {"content-type": "application/json"}, stalls_at=1), "did not answer"),
    ],
    ids=[
        "401",
        "429",
        "quota",
        "500",
        "html",
        "no json",
        "no results",
        "no categories",
        "list",
        "large",
        "slow",
        "cut",
    ],
)
async def test_a_failure_leaves_the_rules_in_charge(
    server: ModerationServer, provider: OpenAiModeration, answer: Answer, what: str
) -> None:
    server.answers = [answer]
    with structlog.testing.capture_logs() as logs:
        findings = await Moderator(provider=provider).check([BY_PROVIDER, BY_RULES], 0.2)
    assert [finding.field for finding in findings] == ["audio.script"]
    [entry] = [entry for entry in logs if entry["event"] == "moderation by rules alone"]
    assert what in entry["error"]
    assert not any(word in str(logs) for word in (KEY, "secret detail", "veiled", "yourself"))


async def test_a_provider_that_stays_slow_is_not_called_for_a_while(
    server: ModerationServer, provider: OpenAiModeration
) -> None:
    server.answers = [STALLED] * 5
    moderator = Moderator(provider=provider)
    for _ in range(5):
        await moderator.check([BY_PROVIDER], 0.05)
    began = time.perf_counter()
    assert await moderator.check([BY_PROVIDER], 30.0) == []
    assert time.perf_counter() - began < 10
    assert len(server.requests) == 5


@pytest.mark.parametrize(
    ("credentials", "is_called"),
    [({}, False), ({"openai": "own"}, False), ({"openai-moderation": "own"}, True)],
    ids=["none", "a compatible server of chat", "its own entry"],
)
async def test_only_a_moderation_server_gets_the_texts(
    server: ModerationServer, credentials: dict[str, str], is_called: bool
) -> None:
    async with open_moderation() as provider:
        await provider.providers.replace({name: Credentials((KEY,), f"{server.url}/v1") for name in credentials})
        findings = await Moderator(parse_policy(""), provider=provider).check([BY_PROVIDER], 5.0)
    assert (bool(server.requests), bool(findings)) == (is_called, is_called)


async def test_the_service_refuses_what_the_provider_finds(
    mesh: Mesh, server: ModerationServer, tmp_path: Path
) -> None:
    (tmp_path / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=tmp_path / "secrets", master_key_file=tmp_path / "master-key"))
    file = tmp_path / "providers.json"
    file.write_text(json.dumps({"openai-moderation": {"keys": [KEY], "base_url": f"{server.url}/v1"}}))
    await mesh.start("content", Config(providers_file=file, moderation_policy=parse_policy("illicit=refuse")))
    content = mesh.stub(pb_grpc.ContentServiceStub)
    text = pb.CheckedText(field="title", text="A recipe [illicit/violent]")
    with pytest.raises(errors.InvalidArgument) as refused:
        await content.CheckTexts(pb.CheckTextsRequest(texts=[text]))
    assert (refused.value.reason, [each.field for each in refused.value.violations]) == ("CONTENT_REFUSED", ["title"])
    server.answers = [error_answer(500, "server_error")]
    assert not (await content.CheckTexts(pb.CheckTextsRequest(texts=[text]))).notices
