"""Character.ai: the persona writer, with a session written by hand after the methods of PyCharacterAI 2.2."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from services.content.config import Config
from services.content.scripts.writing import WritingOptions
from services.content.writers.character_ai import CharacterAiWriter, PersonaClient
from services.content.writers.checks import check_script
from services.content.writers.prompts import ScriptTask, build_script_prompt, build_translation_prompt
from services.providers.breaker import Breaker
from services.providers.failures import FailureKind, ProviderFailure
from services.providers.keys import KeyRing
from services.runtime.config import ConfigError
from services.runtime.layers import load

PROSE = "Ahoy, the sea is salty, and I have tasted it. The rivers bring it from the rocks. Drink with care!"
TASK = ScriptTask("Why the sea is salty", "en", WritingOptions(scene_count=2))


class AuthenticationError(Exception):
    """As the package names it."""


@dataclass
class Candidate:
    text: str
    is_filtered: bool = False


@dataclass
class Turn:
    candidate: Candidate

    def get_primary_candidate(self) -> Candidate:
        return self.candidate


@dataclass
class Chat:
    chat_id: str = "chat_1"


@dataclass
class Session:
    """A session of the package: its methods are those of `client.chat`."""

    answer: Candidate
    sent: list[str] = field(default_factory=list)
    is_closed: bool = False

    @property
    def chat(self) -> Session:
        return self

    async def create_chat(self, character_id: str, greeting: bool = True) -> tuple[Chat, None]:
        assert (character_id, greeting) == ("pirate", False)
        return Chat(), None

    async def send_message(self, character_id: str, chat_id: str, text: str, streaming: bool = False) -> Turn:
        assert (character_id, chat_id, streaming) == ("pirate", "chat_1", False)
        self.sent.append(text)
        return Turn(self.answer)

    async def close_session(self) -> None:
        self.is_closed = True


def writer(session: Session | Exception) -> CharacterAiWriter:
    async def open_session(token: str) -> Any:
        assert token == "token"
        if isinstance(session, Exception):
            raise session
        return session

    name = "character-ai"
    client = PersonaClient(name, KeyRing(name, ["token"]), Breaker(name), open_session)
    return CharacterAiWriter(client, "pirate")


async def test_the_prose_of_a_persona_becomes_scenes() -> None:
    session = Session(Candidate(PROSE))
    completion = await writer(session).complete(build_script_prompt(TASK), 20)
    checked = check_script(completion.document, TASK)
    assert checked.problems == () and len(checked.value) == 2
    assert [sentence for scene in checked.value for sentence in scene.sentences][-1] == "Drink with care!"
    assert all(scene.search_terms for scene in checked.value)
    assert session.is_closed and "Why the sea is salty" in session.sent[0]


@pytest.mark.parametrize(
    ("session", "kind"),
    [
        (AuthenticationError("token"), FailureKind.UNAUTHORIZED),
        (KeyError("turn"), FailureKind.UNAVAILABLE),
        (Session(Candidate("I will not", is_filtered=True)), FailureKind.BAD_RESPONSE),
        (Session(Candidate(" ")), FailureKind.BAD_RESPONSE),
    ],
)
async def test_failures_have_a_kind_and_no_foreign_text(session: Session | Exception, kind: FailureKind) -> None:
    with pytest.raises(ProviderFailure) as failed:
        await writer(session).complete(build_script_prompt(TASK), 20)
    assert failed.value.kind is kind and "token'" not in failed.value.message and "turn" not in failed.value.message


async def test_it_only_writes_scripts() -> None:
    with pytest.raises(ProviderFailure, match="only writes scripts"):
        await writer(Session(Candidate(PROSE))).complete(build_translation_prompt(["Hi."], "de"), 20)


def test_it_is_off_by_default_and_must_be_last(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "character-ai" not in load(Config).writers
    monkeypatch.setenv("MONEYPRINTER_CONTENT_WRITERS", "openai,character-ai")
    assert load(Config).writers == ("openai", "character-ai")
    monkeypatch.setenv("MONEYPRINTER_CONTENT_WRITERS", "character-ai,openai")
    with pytest.raises(ConfigError, match="character-ai is unofficial, and must be the last"):
        load(Config)
