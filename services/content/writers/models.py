"""Models: what a language model is asked and answers, and the protocol that the adapters of providers implement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from services.providers.client import ProviderClient
from services.providers.failures import FailureKind, ProviderFailure
from services.providers.pool import Connection


@dataclass(frozen=True)
class Prompt:
    """A question to a language model, and the form of its answer."""

    system: str
    """The instructions."""
    user: str
    """The data: a JSON document, so that texts of callers cannot pass for instructions."""
    name: str
    """The name of the form: letters and underscores."""
    schema: Mapping[str, Any]
    """The JSON schema of the answer: objects, arrays and strings, all properties required."""
    max_tokens: int
    """The most tokens of the answer, hidden reasoning included."""


@dataclass(frozen=True)
class Completion:
    """The answer of a language model. It is unchecked text of a foreign server."""

    document: Any
    """The JSON document; None when the answer is none."""
    text: str
    """The answer as text; empty when the provider sends documents."""
    input_tokens: int = 0
    output_tokens: int = 0


class Writer(Protocol):
    """A language model of a provider."""

    @property
    def name(self) -> str:
        """The name of the provider, for example `openai`."""

    @property
    def client(self) -> Connection:
        """The connection to the provider."""

    async def complete(self, prompt: Prompt, timeout_seconds: float) -> Completion:
        """Answer a prompt. Raises `ProviderFailure`."""

    async def check_key(self) -> None:
        """Make one cheap call, which shows whether the key is valid. Raises `ProviderFailure`."""


class ModelWriter:
    """A model that a provider serves over HTTP.

    Args:
        client: The client of the provider.
        model: The model.
    """

    def __init__(self, client: ProviderClient, model: str) -> None:
        self.client = client
        self._model = model

    @property
    def name(self) -> str:
        """The name of the provider."""
        return self.client.name


def to_refusal(provider: str) -> ProviderFailure:
    """The failure of a provider that declines to write about a subject."""
    message = f"{provider} declines to write this text; change the topic or the prompt"
    return ProviderFailure(provider, FailureKind.REFUSED, message, code="declined")


def to_bad_answer(provider: str, what: str) -> ProviderFailure:
    """The failure of a provider whose answer is unusable."""
    return ProviderFailure(provider, FailureKind.BAD_RESPONSE, f"{provider}: {what}")


def read_count(document: Any, *names: str) -> int:
    """A number of tokens in an answer, by the path of its field; 0 when there is none."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, int) and 0 <= document < 10**9 else 0
