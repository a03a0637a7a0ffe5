"""Providers from the command line: their states, and the keys of the account."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moneyprinter.client import Client
from moneyprinter.media.v1 import media_pb2
from moneyprinter.user.v1 import provider_key_service_pb2 as keys_pb
from moneyprinter.video.v1 import provider_service_pb2 as pb
from services.commands.actions.sessions import open_client
from services.commands.targets import Target


async def show_providers(target: Target, console: Console) -> None:
    """Print the states of all providers."""
    async with open_client(target) as client:
        states = (await client.providers.ListProviders(pb.ListProvidersRequest())).providers
    _print_states(states, console)


async def set_key(target: Target, provider: str, key: str, region: str, console: Console) -> None:
    """Store a key of the account, and print how a call with it ended."""
    async with open_client(target) as client:
        request = keys_pb.SetProviderKeyRequest(provider=provider, key=key, region=region)
        await client.provider_keys.SetProviderKey(request)
        console.print(f"Your key for {escape(provider)} is stored; it is used within 10 seconds.")
        await _check(client, provider, console)


async def check_key(target: Target, provider: str, console: Console) -> None:
    """Print how a call with a key of the account ended."""
    async with open_client(target) as client:
        await _check(client, provider, console)


async def remove_key(target: Target, provider: str, console: Console) -> None:
    """Delete a key of the account."""
    async with open_client(target) as client:
        await client.provider_keys.DeleteProviderKey(keys_pb.DeleteProviderKeyRequest(provider=provider))
    console.print(f"Your key for {escape(provider)} is deleted.")


async def _check(client: Client, provider: str, console: Console) -> None:
    states = (await client.providers.CheckProvider(pb.CheckProviderRequest(provider=provider))).providers
    _print_states(states, console)


def _print_states(states: Sequence[media_pb2.ProviderState], console: Console) -> None:
    table = Table("provider", "use", "key", "circuit breaker", "last error")
    for state in states:
        key = {"": "none", "unneeded": "not needed"}.get(state.key, state.key)
        table.add_row(*map(escape, (state.provider, state.use, key, state.breaker, state.last_error)))
    console.print(table)
