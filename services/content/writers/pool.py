"""Pool: the writers that have credentials, in the order of the settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from services.content.stored_documents import hash_request
from services.content.writers import anthropic, gemini
from services.content.writers.anthropic import AnthropicWriter
from services.content.writers.asking import Answer, ask_writers, leave_out_costly
from services.content.writers.cache import TextCache
from services.content.writers.character_ai import CharacterAiWriter, PersonaClient
from services.content.writers.chat import ChatWriter
from services.content.writers.checks import Checked
from services.content.writers.gemini import GeminiWriter
from services.content.writers.models import Prompt, Writer
from services.content.writers.presets import ANTHROPIC, CHARACTER_AI, CHAT_PRESETS, DEFAULT_ORDER, GEMINI, ChatPreset
from services.content.writers.stored_answers import StoredAnswer, StoredAnswers
from services.providers.account_keys import AccountKeys, AccountPools
from services.providers.breaker import Breaker
from services.providers.client import Authenticate, Authentication, ProviderClient, authenticate_bearer
from services.providers.credentials import Credentials, Use
from services.providers.keys import KeyRing
from services.providers.pool import ProviderPool
from services.providers.usage import UNLIMITED, Budget

T = TypeVar("T")

# The largest answer: 20,000 characters, escaped, and their form.
_MAX_RESPONSE_BYTES = 2 * 1024 * 1024


class WriterPool:
    """The writers in order of preference, and the texts that they have written.

    Args:
        order: The names of providers.
        timeout_seconds: The limit of each call of a provider.
        clock: Returns seconds of a monotonic clock.
        stored: The answers that all instances share; None: those of this instance alone.
        account_keys: The keys of accounts; None: accounts have none.
    """

    def __init__(
        self,
        order: Sequence[str] = DEFAULT_ORDER,
        timeout_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        stored: StoredAnswers | None = None,
        account_keys: AccountKeys | None = None,
    ) -> None:
        self._order = frozenset(order)
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._cache = TextCache(clock)
        self.stored = stored
        open_pool = partial(ProviderPool, Use.WRITING, self._open_writer, order, check_key)
        self.providers: ProviderPool[Writer] = open_pool()
        self.accounts = AccountPools(self.providers, partial(open_pool, is_shared=False), account_keys)

    async def find_names(self, account_id: str) -> tuple[str, ...]:
        """Return the names of the writers that may be called for an account, in order."""
        return tuple((await self.accounts.find(account_id)).adapters)

    async def ask(
        self,
        request: Sequence[Any],
        build_prompt: Callable[[Sequence[str], str], Prompt],
        check: Callable[[Any], Checked[T]],
        budget: Budget = UNLIMITED,
        account_id: str = "",
    ) -> Answer[T]:
        """Return the answer to a request, which is not asked again within a day when a writer has answered.

        Args:
            request: What identifies the request, as JSON values, its account included.
            build_prompt: Returns the question, given the problems of the answer before and its text.
            check: Reads and checks the JSON document of an answer.
            budget: What may be charged. Writers that may charge more are not asked.
            account_id: The account whose keys are used; empty: none.
        """
        found = await self.accounts.find(account_id)
        writers = tuple(found.adapters.values())
        if not writers:
            return Answer(None, "", ())

        key = hash_request([*request, tuple(found.adapters)])

        async def make() -> _CachedAnswer[T]:
            if stored := await self.stored.find(key) if self.stored else None:
                checked = check(stored.document)
                if not checked.problems:
                    return _CachedAnswer(Answer(checked.value, stored.writer, ()))
            allowed, notices = leave_out_costly(writers, build_prompt((), ""), budget, found.own)
            if not allowed:
                raise _Unanswered(Answer(None, "", notices))
            answer = await ask_writers(allowed, build_prompt, check, self._timeout_seconds, found.own)
            answer = replace(answer, notices=(*notices, *answer.notices))
            if answer.value is None:
                raise _Unanswered(answer)
            if self.stored:
                await self.stored.keep(key, StoredAnswer(answer.document, answer.writer))
            return _CachedAnswer(answer)

        try:
            cached = await self._cache.fetch(key, make)
            return cached.take()
        except _Unanswered as failure:
            return failure.answer

    async def aclose(self) -> None:
        """Cancel the calls in progress, and close the connections."""
        await self._cache.aclose()
        await self.accounts.aclose()
        await self.providers.aclose()

    def _open_writer(self, name: str, credentials: Credentials) -> Writer | None:
        return _open_writer(name, credentials, self._clock) if name in self._order else None


@dataclass
class _CachedAnswer(Generic[T]):
    """An answer in the cache, whose tokens were charged once."""

    answer: Answer[T]
    is_charged: bool = False

    def take(self) -> Answer[T]:
        """The answer; only the first time with its tokens."""
        answer = replace(self.answer, tokens=()) if self.is_charged else self.answer
        self.is_charged = True
        return answer


class _Unanswered(Exception):
    """No writer answered: the answer is not kept."""

    def __init__(self, answer: Answer[Any]) -> None:
        super().__init__()
        self.answer = answer


async def check_key(writer: Writer) -> None:
    """Make one cheap call of a writer. Raises `ProviderFailure`."""
    await writer.check_key()


def _open_writer(name: str, credentials: Credentials, clock: Callable[[], float]) -> Writer | None:
    """The writer of a provider; None when the credentials lack its key or address."""
    options = credentials.options
    model = options.get("model") if isinstance(options.get("model"), str) else ""
    if name == ANTHROPIC:
        client = _client(name, anthropic.BASE_URL, credentials, anthropic.authenticate_anthropic, clock)
        return AnthropicWriter(client, model or anthropic.MODEL) if client else None
    if name == GEMINI:
        client = _client(name, gemini.BASE_URL, credentials, gemini.authenticate_gemini, clock)
        return GeminiWriter(client, model or gemini.MODEL) if client else None
    if name == CHARACTER_AI:
        character = options.get("character")
        if not credentials.keys or not isinstance(character, str):
            return None
        return CharacterAiWriter(
            PersonaClient(name, KeyRing(name, credentials.keys, clock), Breaker(name, clock)), character
        )
    preset = CHAT_PRESETS[name]
    client = _client(name, preset.base_url, credentials, _authenticate(preset), clock, needs_key=preset.needs_key)
    return ChatWriter(client, preset, model or preset.model) if client else None


def _client(
    name: str,
    base_url: str,
    credentials: Credentials,
    authenticate: Authenticate,
    clock: Callable[[], float],
    *,
    needs_key: bool = True,
) -> ProviderClient | None:
    address = credentials.base_url or base_url
    if not address or (needs_key and not credentials.keys):
        return None
    return ProviderClient(
        name,
        address,
        KeyRing(name, credentials.keys, clock) if credentials.keys else None,
        authenticate,
        Breaker(name, clock),
        max_response_bytes=_MAX_RESPONSE_BYTES,
    )


def _authenticate(preset: ChatPreset) -> Authenticate:
    if not preset.key_header:
        return authenticate_bearer
    return lambda key: Authentication({preset.key_header: key})
