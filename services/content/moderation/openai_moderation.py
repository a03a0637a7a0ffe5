"""OpenAI moderation: the categories of texts from `POST /v1/moderations`, which costs nothing for holders of a key."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from services.content.moderation.moderation import ProviderUnavailable
from services.content.moderation.policy import Category
from services.providers.client import ProviderClient
from services.providers.credentials import Credentials, Use
from services.providers.failures import ProviderFailure
from services.providers.keys import KeyRing
from services.providers.pool import ProviderPool

NAME = "openai-moderation"
"""The name of the provider in credentials. Without an entry of its own, it takes the keys of `openai`."""
BASE_URL = "https://api.openai.com/v1"
MODEL = "omni-moderation-latest"

_OPENAI = "openai"
_MAX_RESPONSE_BYTES = 1024 * 1024
_TEXTS_OF_A_CALL = 32
_SHORTEST = 0.01


@dataclass(frozen=True)
class _ModerationServer:
    client: ProviderClient


def _open_server(name: str, credentials: Credentials) -> _ModerationServer | None:
    """The server of an entry; None when it has none. Servers that are compatible in chat have no moderation."""
    if name == NAME:
        is_usable = bool(credentials.keys or credentials.base_url)
    else:
        is_usable = name == _OPENAI and bool(credentials.keys) and not credentials.base_url
    if not is_usable:
        return None
    keys = KeyRing(NAME, credentials.keys) if credentials.keys else None
    address = credentials.base_url or BASE_URL
    return _ModerationServer(ProviderClient(NAME, address, keys, max_response_bytes=_MAX_RESPONSE_BYTES))


class OpenAiModeration:
    """The moderation of OpenAI, or of a server with the same interface."""

    name = NAME

    def __init__(self) -> None:
        self.providers: ProviderPool[_ModerationServer] = ProviderPool(Use.MODERATION, _open_server, (NAME,))

    async def classify(self, texts: Sequence[str], seconds: float) -> Sequence[Collection[Category]]:
        """Return the categories of each text; none without credentials.

        Raises `ProviderUnavailable` when there is no result within `seconds`.
        """
        server = next(iter(self.providers.adapters.values()), None)
        if server is None:
            return [()] * len(texts)
        found: list[Collection[Category]] = []
        deadline = time.monotonic() + seconds
        try:
            for first in range(0, len(texts), _TEXTS_OF_A_CALL):
                batch = texts[first : first + _TEXTS_OF_A_CALL]
                request = {"model": MODEL, "input": list(batch)}
                remaining = max(_SHORTEST, deadline - time.monotonic())
                answer = await server.client.request_json(
                    "POST", "/moderations", json=request, timeout_seconds=remaining
                )
                found += _parse_results(answer, len(batch))
        except ProviderFailure as failure:
            raise ProviderUnavailable(failure.message) from None
        return found


def _parse_results(answer: Any, count: int) -> list[Collection[Category]]:
    """Return the categories of `count` texts. Raises `ProviderUnavailable` when the answer has another form."""
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or len(results) != count:
        raise ProviderUnavailable(f"{NAME}: its answer does not have a result for each text")
    return [_parse_categories(result) for result in results]


def _parse_categories(result: Any) -> Collection[Category]:
    categories = result.get("categories") if isinstance(result, dict) else None
    if not isinstance(categories, dict):
        raise ProviderUnavailable(f"{NAME}: a result has no categories")
    found = {_to_category(str(name)) for name, is_found in categories.items() if is_found is True}
    return sorted(category for category in found if category)


def _to_category(name: str) -> Category | None:
    """Return the category of a provider's one, such as `hate/threatening`; None for one that is not known."""
    plain = name.replace("-", "_")
    for candidate in (plain.replace("/", "_"), plain.partition("/")[0]):
        if candidate in set(Category):
            return Category(candidate)
    return None
