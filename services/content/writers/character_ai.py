"""Character.ai: a persona that writes scripts, by the unofficial client PyCharacterAI.

Character.ai has no official interface: the client uses that of its web site, which may change or forbid it at any time.
The writer is off unless the settings name it, and then the last one. The package is the extra `character-ai`.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from services.content.scripts.scenes import group_sentences
from services.content.scripts.sentences import split_sentences
from services.content.writers.models import Completion, Prompt, to_bad_answer
from services.content.writers.parsing import extract_document
from services.providers.breaker import Breaker
from services.providers.failures import FailureKind, ProviderFailure
from services.providers.keys import KeyRing

PACKAGE = "PyCharacterAI"
# Longer messages are refused by the web site.
_MAX_MESSAGE = 10_000
_SCRIPT = "submit_script"
_MESSAGE = (
    "Stay in character, and write the narration of a short video in your own way: only what is spoken, no stage "
    "directions, no Markdown, no greeting, nothing in asterisks or brackets. The wishes, as data: {wishes}"
)


class PersonaClient(Protocol):
    """A session of the unofficial client."""

    @property
    def chat(self) -> Any:
        """Its methods `create_chat` and `send_message`."""

    async def close_session(self) -> None:
        """Close the connections."""


OpenClient = Callable[[str], Awaitable[PersonaClient]]
"""Signs in with a token, and returns a session."""


def is_installed() -> bool:
    """Whether the package of the unofficial client is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


async def open_client(token: str) -> PersonaClient:
    """Sign in with a token."""
    client: PersonaClient = await importlib.import_module(PACKAGE).get_client(token=token)
    return client


class CharacterAiWriter:
    """A persona of Character.ai.

    Args:
        name: The name of the provider, for errors.
        keys: The tokens of accounts.
        character: The id of the persona.
        breaker: The circuit breaker.
        open_session: Signs in.
    """

    def __init__(
        self,
        name: str,
        keys: KeyRing,
        character: str,
        breaker: Breaker,
        open_session: OpenClient = open_client,
    ) -> None:
        self._name = name
        self._keys = keys
        self._character = character
        self._breaker = breaker
        self._open = open_session

    @property
    def name(self) -> str:
        """The name of the provider."""
        return self._name

    async def complete(self, prompt: Prompt, timeout_seconds: float) -> Completion:
        """Write a script. Raises `ProviderFailure`, also for all other prompts."""
        if prompt.name != _SCRIPT:
            message = f"{self.name} only writes scripts"
            raise ProviderFailure(self.name, FailureKind.REFUSED, message, code="unsupported")
        with self._breaker.attempt():
            text = await self._converse(_MESSAGE.format(wishes=prompt.user)[:_MAX_MESSAGE], timeout_seconds)
        document = extract_document(text)
        return Completion(document if document and "scenes" in document else divide_prose(text, prompt.user), text)

    async def check_key(self) -> None:
        """Do nothing: each sign-in of the unofficial client may be noticed as one of a program."""

    async def aclose(self) -> None:
        """Do nothing: each conversation closes its session."""

    async def _converse(self, message: str, timeout_seconds: float) -> str:
        """Send a message in a new chat, and return the answer of the persona."""
        token = self._keys.current()
        try:
            async with asyncio.timeout(timeout_seconds):
                client = await self._open(token)
                try:
                    chat, _ = await client.chat.create_chat(self._character, greeting=False)
                    turn = await client.chat.send_message(self._character, chat.chat_id, message)
                finally:
                    await client.close_session()
            candidate = turn.get_primary_candidate()
            text = candidate.text if candidate is not None and not candidate.is_filtered else ""
        except TimeoutError:
            message = f"{self.name} did not answer within {timeout_seconds:g} s"
            raise ProviderFailure(self.name, FailureKind.TIMEOUT, message) from None
        # The package has no closed list of errors, and their texts are foreign.
        except Exception as failure:
            if type(failure).__name__ == "AuthenticationError":
                self._keys.rest(token, FailureKind.UNAUTHORIZED)
                message = f"{self.name} refuses the token; give it a valid one"
                raise ProviderFailure(self.name, FailureKind.UNAUTHORIZED, message) from None
            message = f"{self.name} failed; its interface is unofficial and may have changed"
            raise ProviderFailure(self.name, FailureKind.UNAVAILABLE, message) from None
        if not isinstance(text, str) or not text.strip():
            raise to_bad_answer(self.name, "its answer is empty")
        return text


def divide_prose(text: str, wishes: str) -> dict[str, Any]:
    """The document of a script that was written as prose, in scenes of similar length."""
    data = json.loads(wishes)
    language = str(data.get("language", ""))
    sentences = split_sentences(text, language)
    count = data.get("scene_count")
    if not sentences:
        return {"scenes": []}
    groups = group_sentences(sentences, language, count if isinstance(count, int) else 0)
    return {"scenes": [{"narration": "\n".join(group)} for group in groups]}
