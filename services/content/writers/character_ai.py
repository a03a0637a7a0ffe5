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


class PersonaSession(Protocol):
    """A session of the unofficial client."""

    @property
    def chat(self) -> Any:
        """Its methods `create_chat` and `send_message`."""

    async def close_session(self) -> None:
        """Close the connections."""


OpenSession = Callable[[str], Awaitable[PersonaSession]]
"""Signs in with a token, and returns a session."""


def is_installed() -> bool:
    """Whether the package of the unofficial client is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


async def open_session(token: str) -> PersonaSession:
    """Sign in with a token."""
    session: PersonaSession = await importlib.import_module(PACKAGE).get_client(token=token)
    return session


class PersonaClient:
    """Sends messages to personas. Each conversation has a session of its own.

    Args:
        name: The name of the provider, for errors.
        keys: The tokens of accounts.
        breaker: The circuit breaker.
        open_session: Signs in.
    """

    def __init__(self, name: str, keys: KeyRing, breaker: Breaker, open_session: OpenSession = open_session) -> None:
        self.name = name
        self.keys = keys
        self.breaker = breaker
        self._open_session = open_session

    async def retire(self) -> None:
        """Do nothing: each conversation closes its session."""

    async def aclose(self) -> None:
        """Do nothing: each conversation closes its session."""

    async def converse(self, character: str, message: str, timeout_seconds: float) -> str:
        """Send a message to a persona in a new chat, and return its answer. Raises `ProviderFailure`."""
        with self.breaker.attempt():
            return await self._converse(character, message, timeout_seconds)

    async def _converse(self, character: str, message: str, timeout_seconds: float) -> str:
        token = self.keys.current()
        try:
            async with asyncio.timeout(timeout_seconds):
                session = await self._open_session(token)
                try:
                    chat, _ = await session.chat.create_chat(character, greeting=False)
                    turn = await session.chat.send_message(character, chat.chat_id, message)
                finally:
                    await session.close_session()
            candidate = turn.get_primary_candidate()
            text = candidate.text if candidate is not None and not candidate.is_filtered else ""
        except TimeoutError:
            message = f"{self.name} did not answer within {timeout_seconds:g} s"
            raise ProviderFailure(self.name, FailureKind.TIMEOUT, message) from None
        # The package has no closed list of errors, and their texts are foreign.
        except Exception as failure:
            if type(failure).__name__ == "AuthenticationError":
                self.keys.rest(token, FailureKind.UNAUTHORIZED)
                message = f"{self.name} refuses the token; give it a valid one"
                raise ProviderFailure(self.name, FailureKind.UNAUTHORIZED, message) from None
            message = f"{self.name} failed; its interface is unofficial and may have changed"
            raise ProviderFailure(self.name, FailureKind.UNAVAILABLE, message) from None
        if not isinstance(text, str) or not text.strip():
            raise to_bad_answer(self.name, "its answer is empty")
        return text


class CharacterAiWriter:
    """A persona of Character.ai.

    Args:
        client: Sends messages to personas.
        character: The id of the persona.
    """

    def __init__(self, client: PersonaClient, character: str) -> None:
        self.client = client
        self._character = character

    @property
    def name(self) -> str:
        """The name of the provider."""
        return self.client.name

    async def complete(self, prompt: Prompt, timeout_seconds: float) -> Completion:
        """Write a script. Raises `ProviderFailure`, also for all other prompts."""
        if prompt.name != _SCRIPT:
            message = f"{self.name} only writes scripts"
            raise ProviderFailure(self.name, FailureKind.REFUSED, message, code="unsupported")
        message = _MESSAGE.format(wishes=prompt.user)[:_MAX_MESSAGE]
        text = await self.client.converse(self._character, message, timeout_seconds)
        document = extract_document(text)
        return Completion(document if document and "scenes" in document else divide_prose(text, prompt.user), text)

    async def check_key(self) -> None:
        """Do nothing: each sign-in of the unofficial client may be noticed as one of a program."""


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
