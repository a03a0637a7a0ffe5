"""The commands for providers: `moneyprinter providers`, `providers set`, `providers remove` and `providers check`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from services.commands.targets import parse_target
from services.commands.terminal import DataOption, out, read_secret

app = typer.Typer(help="List the providers of speech, scripts and footage, and set your own keys for them.")

ProviderArgument = Annotated[str, typer.Argument(metavar="PROVIDER", help="The provider, for example openai.")]


@app.callback(
    invoke_without_command=True,
    epilog="Examples: [bold]moneyprinter providers[/] · [bold]moneyprinter providers set openai[/] ·"
    " [bold]moneyprinter providers set azure --region westeurope < key.txt[/]",
)
def list_providers(context: typer.Context, data: DataOption = None) -> None:
    """List the providers, whose key they are called with, and what failed last."""
    if context.invoked_subcommand is None:
        from services.commands.actions import providers

        asyncio.run(providers.show_providers(parse_target(data), out))


@app.command("set")
def set_key(
    provider: ProviderArgument,
    region: Annotated[str, typer.Option(help="The region of the Speech resource, only for azure.")] = "",
    data: DataOption = None,
) -> None:
    """Store your own key for a provider, read from the terminal or standard input, and check it."""
    from services.commands.actions import providers

    asyncio.run(providers.set_key(parse_target(data), provider, read_secret("Key"), region, out))


@app.command("remove")
def remove_key(provider: ProviderArgument, data: DataOption = None) -> None:
    """Delete your own key for a provider."""
    from services.commands.actions import providers

    asyncio.run(providers.remove_key(parse_target(data), provider, out))


@app.command("check")
def check_key(provider: ProviderArgument, data: DataOption = None) -> None:
    """Call a provider once with your own key, and show how it ended."""
    from services.commands.actions import providers

    asyncio.run(providers.check_key(parse_target(data), provider, out))
