"""Credentials of providers: from the config service, else from a file; keys in rotation; the chain of providers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from moneyprinter.errors import Unavailable
from services.providers import client
from services.providers.chain import Skipped, call_first
from services.providers.credentials import CredentialMonitor, Credentials, parse_credentials
from services.providers.failures import FailureKind, ProviderFailure
from services.providers.keys import KeyRing
from services.runtime.config import ConfigError
from services.runtime.secrets import Secret
from tests.providers.provider_server import Clock
from tests.watchdog import LONGEST_SECONDS

DOCUMENT = {"openai": {"keys": ["sk-1", "sk-2"], "base_url": "https://example.com/v1", "model": "tts"}, "ollama": {}}
EXPECTED = {
    "openai": Credentials(("sk-1", "sk-2"), "https://example.com/v1", {"model": "tts"}),
    "ollama": Credentials(()),
}


class Secrets:
    """The secrets of one service."""

    def __init__(self, value: bytes | None = None) -> None:
        self.value = value
        self.names: list[str] = []
        self.is_away = False

    async def read(self, name: str) -> Secret | None:
        self.names.append(name)
        if self.is_away:
            raise Unavailable("the config service cannot be reached", reason="SERVICE_UNAVAILABLE")
        return Secret(self.value, 1) if self.value else None


def monitor(secrets: Any, file: Path | None, applied: list[Mapping[str, Credentials]]) -> CredentialMonitor:
    async def apply(credentials: Mapping[str, Credentials]) -> None:
        applied.append(credentials)

    return CredentialMonitor(secrets, "audio", file, apply)


async def test_the_config_service_comes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "providers.json"
    file.write_text('{"google": {"keys": ["from-the-file"]}}')
    secrets, applied = Secrets(json.dumps(DOCUMENT).encode()), list[Mapping[str, Credentials]]()
    reader = monitor(secrets, file, applied)
    assert await reader.refresh()
    assert await reader.refresh()
    assert applied == [EXPECTED], "equal credentials are not applied twice"
    assert set(secrets.names) == {"audio/providers"}
    secrets.value = None
    assert await reader.refresh()
    assert applied[-1] == {"google": Credentials(("from-the-file",))}
    assert await monitor(secrets, None, applied).refresh()
    assert applied[-1] == {}


async def test_the_keys_of_before_stay_while_they_cannot_be_read(tmp_path: Path) -> None:
    file, secrets, applied = tmp_path / "providers.json", Secrets(), list[Mapping[str, Credentials]]()
    reader = monitor(secrets, file, applied)
    assert await reader.refresh(), "without a file there are no providers"
    file.write_text(json.dumps(DOCUMENT))
    assert await reader.refresh()
    file.write_text('{"openai": ')
    assert not await reader.refresh()
    secrets.is_away = True
    assert not await reader.refresh()
    assert applied == [{}, EXPECTED]
    await reader.wait_ready()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no json sk-1", "no JSON object"),
        ("[]", "no JSON object"),
        ("[" * 9000, "no JSON object"),
        ('{"openai": "sk-1"}', "maps names of providers"),
        ('{"Open AI": {}}', "maps names of providers"),
        ('{"openai": {"keys": "sk-1"}}', "the keys of openai"),
        ('{"openai": {"keys": ["sk-1\\n"]}}', "the keys of openai"),
        ('{"openai": {"keys": [""]}}', "the keys of openai"),
        ('{"openai": {"keys": [], "base_url": "file:///sk-1"}}', "the base_url of openai"),
        ('{"openai": {"keys": [], "base_url": "https://user:sk-1@host"}}', "the base_url of openai"),
        ('{"openai": {"keys": [], "base_url": "https://host:99999"}}', "the base_url of openai"),
        ('{"openai": {"keys": ["sk-1"], "uses": "speech"}}', "the uses of openai"),
        ('{"openai": {"keys": ["sk-1"], "uses": ["sk-1"]}}', "the uses of openai"),
        ('{"openai": {"keys": ["sk-1"], "uses": [[]]}}', "the uses of openai"),
    ],
)
def test_a_wrong_document_is_refused_without_its_values(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        parse_credentials(text.encode(), "the secret")
    assert "sk-1" not in str(raised.value)


def test_keys_appear_in_no_representation() -> None:
    assert "sk-1" not in repr(EXPECTED)


def test_a_key_ring_keeps_the_rest_of_keys_that_stay() -> None:
    clock = Clock()
    ring = KeyRing("acme", ["a", "b"], clock)
    ring.rest("a", FailureKind.UNAUTHORIZED)
    assert ring.current() == "b"
    assert ring.replace(["a", "c"])
    assert not ring.replace(["a", "c"])
    assert ring.current() == "c"
    clock.now += 600
    assert ring.current() == "a", "the operator may have repaired it at the provider"
    assert ring.replace([])
    with pytest.raises(ProviderFailure, match="has no key") as raised:
        ring.current()
    assert raised.value.kind is FailureKind.UNAUTHORIZED


@dataclass(frozen=True)
class Provider:
    name: str
    failure: FailureKind | None = None

    async def call(self) -> str:
        if self.failure:
            raise ProviderFailure(self.name, self.failure, f"{self.name} failed")
        return f"from {self.name}"


async def test_the_first_provider_that_works_gives_the_result() -> None:
    providers = [
        Provider("a", FailureKind.TIMEOUT),
        Provider("b", FailureKind.UNAUTHORIZED),
        Provider("c"),
        Provider("d"),
    ]
    outcome = await call_first(providers, Provider.call)
    assert (outcome.result, outcome.provider.name) == ("from c", "c")
    skipped = Skipped("a", FailureKind.TIMEOUT, "a failed"), Skipped("b", FailureKind.UNAUTHORIZED, "b failed")
    assert outcome.skipped == skipped
    with pytest.raises(ProviderFailure, match="b failed"):
        await call_first(providers[:2], Provider.call)
    with pytest.raises(ValueError, match="no provider"):
        await call_first([], Provider.call)


async def test_clients_of_new_credentials_do_not_block_the_event_loop() -> None:
    client._tls_context.cache_clear()
    seconds: list[float] = []

    async def apply(credentials: Mapping[str, Credentials]) -> None:
        began = time.thread_time()
        await client.ProviderClient("openai", "https://example.com").aclose()
        seconds.append(time.thread_time() - began)

    secrets: Any = Secrets(json.dumps(DOCUMENT).encode())
    assert await CredentialMonitor(secrets, "audio", None, apply).refresh()
    # Loading the certificate authorities takes 0.2 s.
    assert len(seconds) == 1
    assert seconds[0] < LONGEST_SECONDS
