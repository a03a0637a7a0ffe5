"""The commands for sessions: `moneyprinter login`, `logout` and `token`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from services.commands.targets import Target, parse_target
from services.commands.terminal import DataOption, out, read_secret

app = typer.Typer()


@app.command(
    epilog="Examples: [bold]moneyprinter login[/] · [bold]moneyprinter login https://videos.example.com[/] ·"
    " [bold]moneyprinter login https://videos.example.com --api-key < key.txt[/]. Other commands then take"
    " [bold]--url https://videos.example.com[/], or MONEYPRINTER_PLATFORM from the environment."
)
def login(
    platform: Annotated[
        str, typer.Argument(metavar="[URL]", help="The platform's address. Without it: the platform on this machine.")
    ] = "",
    username: Annotated[str, typer.Option(help="The username of the account.", prompt=False)] = "",
    api_key: Annotated[
        bool, typer.Option("--api-key", help="Sign in with an API key, read from the terminal or standard input.")
    ] = False,
    ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE.pem", help="The certificate authority of a platform with a private certificate."),
    ] = None,
    data: DataOption = None,
) -> None:
    """Sign in to a platform. This machine stays signed in until `logout`."""
    from services.commands.actions import sessions

    target, authority = parse_target(platform or data), sessions.read_authority(ca)
    asyncio.run(sessions.check_platform(target, authority=authority))
    if api_key:
        asyncio.run(sessions.use_api_key(target, read_secret("API key"), authority=authority))
        out.print(f"Signed in to [bold]{target}[/] with the API key.")
        return
    username = username or typer.prompt("Username", default="admin" if target.folder else None)
    _sign_in(target, username, read_secret("Password"), authority)
    out.print(f"Signed in to [bold]{target}[/] as [bold]{username}[/].")


def _sign_in(target: Target, username: str, password: str, authority: str) -> None:
    from moneyprinter import errors
    from services.commands.actions import sessions

    try:
        asyncio.run(sessions.sign_in(target, username, password, authority=authority))
    except errors.Unauthenticated as refusal:
        if refusal.reason != "MFA_REQUIRED":
            raise
        code = read_secret("Code of your authenticator app, or a recovery code")
        asyncio.run(sessions.sign_in(target, username, password, code=code, authority=authority))


@app.command(epilog="Examples: [bold]moneyprinter logout[/] · [bold]moneyprinter logout https://videos.example.com[/]")
def logout(
    platform: Annotated[
        str, typer.Argument(metavar="[URL]", help="The platform's address. Without it: the platform on this machine.")
    ] = "",
    data: DataOption = None,
) -> None:
    """End this machine's session with a platform."""
    from services.commands.actions import sessions

    target = parse_target(platform or data)
    asyncio.run(sessions.sign_out(target))
    out.print(f"Signed out of [bold]{target}[/].")


@app.command(epilog='Example: [bold]curl -H "Authorization: Bearer $(moneyprinter token)" localhost:8080/v1/videos[/]')
def token(data: DataOption = None) -> None:
    """Print an access token that is valid for 1 to 15 minutes."""
    from services.commands.actions import sessions

    print(asyncio.run(sessions.get_access_token(parse_target(data))))
