"""Sign-in: the commands `moneyprinter login`, `logout` and `token`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.commands.targets import Target, parse_target
from services.commands.terminal import Data, out

app = typer.Typer()


@app.command(
    epilog="Examples: [bold]moneyprinter login[/] · [bold]moneyprinter login https://videos.example.com[/] ·"
    " [bold]moneyprinter login https://videos.example.com --api-key < key.txt[/]. Other commands then take"
    " [bold]--url https://videos.example.com[/], or MONEYPRINTER_PLATFORM from the environment."
)
def login(
    platform: Annotated[
        str, typer.Argument(metavar="[URL]", help="The platform's address. Without it: the one on this machine.")
    ] = "",
    username: Annotated[str, typer.Option(help="The account's name.", prompt=False)] = "",
    api_key: Annotated[
        bool, typer.Option("--api-key", help="Sign in with an API key, read from the terminal or standard input.")
    ] = False,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE.pem", help="The authority of a platform with a private certificate.")
    ] = None,
    data: Data = None,
) -> None:
    """Sign in to a platform, and stay signed in on this machine until `logout`."""
    from services.commands import sessions

    target, authority = parse_target(platform or data), sessions.read_authority(ca)
    if api_key:
        asyncio.run(sessions.use_api_key(target, _secret("API key"), authority=authority))
        out.print(f"Signed in to [bold]{target}[/] with the API key.")
        return
    username = username or typer.prompt("Name", default="admin" if target.folder else None)
    _sign_in(target, username, _secret("Password"), authority)
    out.print(f"Signed in to [bold]{target}[/] as [bold]{username}[/].")


def _sign_in(target: Target, username: str, password: str, authority: str) -> None:
    from moneyprinter import errors
    from services.commands import sessions

    try:
        asyncio.run(sessions.sign_in(target, username, password, authority=authority))
    except errors.Unauthenticated as asked:
        if asked.reason != "MFA_REQUIRED":
            raise
        code = _secret("Code of your authenticator, or a recovery code")
        asyncio.run(sessions.sign_in(target, username, password, code=code, authority=authority))


def _secret(name: str) -> str:
    """A secret that is typed unseen, or a line of standard input when that is no terminal."""
    text = typer.prompt(name, hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    return str(text).strip()


@app.command(epilog="Examples: [bold]moneyprinter logout[/] · [bold]moneyprinter logout https://videos.example.com[/]")
def logout(
    platform: Annotated[
        str, typer.Argument(metavar="[URL]", help="The platform's address. Without it: the one on this machine.")
    ] = "",
    data: Data = None,
) -> None:
    """End this machine's session with a platform."""
    from services.commands import sessions

    target = parse_target(platform or data)
    asyncio.run(sessions.sign_out(target))
    out.print(f"Signed out of [bold]{target}[/].")


@app.command(epilog='Example: [bold]curl -H "Authorization: Bearer $(moneyprinter token)" localhost:8080/v1/videos[/]')
def token(data: Data = None) -> None:
    """Print an access token, good for at least a minute and at most 15."""
    from services.commands import sessions

    print(asyncio.run(sessions.access_token(parse_target(data))))
