"""States: which providers are called for an account, with whose key, and what failed last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

from moneyprinter.media.v1 import media_pb2
from services.providers.account_keys import AccountAdapters
from services.providers.credentials import Use
from services.providers.failures import ProviderFailure
from services.providers.pool import Adapter

A = TypeVar("A", bound=Adapter)

ACCOUNT, DEPLOYMENT, UNNEEDED = "account", "deployment", "unneeded"
_MAX_REASON = 1000


def describe_providers(found: AccountAdapters[A], use: Use, known: Sequence[str]) -> Iterator[media_pb2.ProviderState]:
    """The states of the providers of a use in order of preference, then those of `known` names without a key."""
    for name, adapter in found.adapters.items():
        breaker = adapter.client.breaker
        key = ACCOUNT if name in found.own else DEPLOYMENT if adapter.client.keys is not None else UNNEEDED
        yield media_pb2.ProviderState(
            provider=name, use=use, key=key, breaker=breaker.state, last_error=breaker.last_error[:_MAX_REASON]
        )
    for name in known:
        if name not in found.adapters:
            yield media_pb2.ProviderState(provider=name, use=use)


async def check_own_key(found: AccountAdapters[A], name: str, call: Callable[[A], Awaitable[object]]) -> None:
    """Make one cheap call of a provider with the key of the account, also after failures.

    The state of the provider shows how it ended. Without a key of the account, nothing is called.
    """
    if name not in found.own:
        return
    client = found.adapters[name].client
    if client.keys is not None:
        client.keys.reset()
    client.breaker.reset()
    with suppress(ProviderFailure):
        await call(found.adapters[name])
