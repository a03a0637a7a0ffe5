"""Chain: call providers in order of preference until one gives a result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import structlog

from services.providers.failures import FailureKind, ProviderFailure

log = structlog.get_logger()


class Named(Protocol):
    """A provider."""

    @property
    def name(self) -> str:
        """The name of the provider."""


P = TypeVar("P", bound=Named)
R = TypeVar("R")


@dataclass(frozen=True)
class Skipped:
    """A provider that gave no result."""

    provider: str
    kind: FailureKind
    message: str
    """Why not, for users."""


@dataclass(frozen=True)
class ChainResult(Generic[P, R]):
    """A result, the provider that gave it, and those before it that did not."""

    result: R
    provider: P
    skipped: tuple[Skipped, ...]


async def call_first(providers: Sequence[P], call: Callable[[P], Awaitable[R]]) -> ChainResult[P, R]:
    """Call providers in order, and return the first result.

    Args:
        providers: The providers in order of preference, at least one.
        call: Calls one provider. A `ProviderFailure` of it leads to the next provider; all else is raised at once.

    Raises `ProviderFailure`, that of the last provider, when all fail.
    """
    skipped: list[Skipped] = []
    for number, provider in enumerate(providers, 1):
        try:
            return ChainResult(await call(provider), provider, tuple(skipped))
        except ProviderFailure as failure:
            log.warning("provider failed", provider=provider.name, kind=failure.kind.value, reason=failure.message)
            skipped.append(Skipped(provider.name, failure.kind, failure.message))
            if number == len(providers):
                raise
    raise ValueError("there is no provider to call")
