"""Sessions of the command line: one for each platform and machine, shared by all commands that run.

A session is kept in a file that its owner alone reads: the access token, which commands use until it is about to
expire, and the refresh token or API key that the next one is obtained with. Commands that run at the same time take
turns to renew it, since a refresh token is good for one use.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from moneyprinter import errors
from moneyprinter.client import RENEW_SECONDS, Client
from moneyprinter.user.v1 import user_service_pb2 as pb
from services.commands.errors import WrongRequest
from services.commands.targets import Target
from services.embedded import data_folder
from services.embedded.errors import PlatformError

FILE = "session"


@dataclass(frozen=True)
class Session:
    """What a machine keeps of a session."""

    username: str = ""
    """The account's name; empty for an API key."""
    access_token: str = ""
    expires_at: float = 0.0
    """When the access token expires, in seconds since 1970."""
    refresh_token: str = ""
    api_key: str = ""
    authority: str = ""
    """The certificate authority that the platform's certificate is checked with, as PEM; empty: the system's."""
    signed_out: bool = False
    """Whether commands wait for `moneyprinter login`, and do not sign in as the first account by themselves."""


class SharedClient(Client):
    """A client whose tokens are those of the machine's session, which other commands renew, too.

    Where there is no session, or it has ended, it signs in as the first account of a platform on this machine, until
    that account's password is refused.
    """

    def __init__(self, target: Target, session: Session) -> None:
        super().__init__(
            _address(target),
            token=session.access_token,
            refresh_token=session.refresh_token,
            api_key=session.api_key,
            expires_in=session.expires_at - time.time(),
            credentials=_credentials(target, session),
        )
        self._target = target
        self._session = session

    @property
    def renewable(self) -> bool:
        return True

    async def obtain(self) -> None:
        """Take the tokens that another command has renewed meanwhile, or renew them, or sign in."""
        with await asyncio.to_thread(_lock, self._target):
            self._session = load(self._target) or self._session
            kept = self._session
            self.adopt(kept.access_token, kept.refresh_token, kept.expires_at - time.time(), api_key=kept.api_key)
            if self.expires_in > RENEW_SECONDS and kept.access_token != self._refused_token:
                return
            try:
                if not super().renewable:
                    raise _signed_out(self._target)
                await super().obtain()
            except errors.Unauthenticated:
                await self._sign_in_as_first_account()
            self.keep()

    async def _sign_in_as_first_account(self) -> None:
        if self._session.signed_out:
            raise _signed_out(self._target)
        account = _first_account(self._target)
        try:
            await self.sign_in(account["username"], account["password"])
        except errors.Unauthenticated:
            # It is tried once: more would lock the account.
            save(self._target, Session(signed_out=True))
            raise _signed_out(self._target) from None
        self._session = Session(username=account["username"])

    def keep(self) -> None:
        """Write the session to its file."""
        save(
            self._target,
            replace(
                self._session,
                access_token=self.token,
                refresh_token=self.refresh_token,
                expires_at=time.time() + self.expires_in,
            ),
        )


def load(target: Target) -> Session | None:
    """The session that this machine has with a platform; None when there is none that can be read."""
    try:
        return Session(**json.loads((target.state / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def save(target: Target, session: Session) -> None:
    """Keep a session with a platform, readable by its owner only."""
    target.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    data_folder.write_private(target.state / FILE, json.dumps(asdict(session)).encode() + b"\n")


@asynccontextmanager
async def signed_in(target: Target) -> AsyncIterator[Client]:
    """A client of a platform, signed in by this machine's session, or as the first account of a platform here.

    Raises PlatformError when no platform runs on the folder, and Unauthenticated when there is no session.
    """
    async with SharedClient(target, load(target) or Session()) as client:
        yield client


async def access_token(target: Target) -> str:
    """An access token of the session with a platform."""
    async with signed_in(target) as client:
        return client.token


async def sign_in(target: Target, username: str, password: str, *, code: str = "", authority: str = "") -> None:
    """Sign in with a password, and a code of the second factor where it is needed, and keep the session.

    Raises Unauthenticated when the platform refuses them; its reason is MFA_REQUIRED when it asks for a code.
    """
    client = SharedClient(target, Session(username=username, authority=authority))
    try:
        kind = {"totp_code" if code.isdigit() else "recovery_code": code}
        await client.sign_in(username, password, **kind)
        client.keep()
    finally:
        await client.close()


async def use_api_key(target: Target, api_key: str, *, authority: str = "") -> None:
    """Keep an API key as the session with a platform, once the platform has accepted it. Raises Unauthenticated."""
    session = Session(api_key=api_key, authority=authority)
    async with Client(_address(target), api_key=api_key, credentials=_credentials(target, session)):
        save(target, session)


async def sign_out(target: Target) -> None:
    """End the session with a platform, there and here."""
    session = load(target)
    save(target, Session(signed_out=True))
    if session is not None and session.refresh_token:
        client = Client(_address(target), credentials=_credentials(target, session))
        try:
            await client.users.SignOut(pb.SignOutRequest(refresh_token=session.refresh_token))
        finally:
            await client.close()


def _first_account(target: Target) -> dict[str, str]:
    try:
        assert target.folder is not None
        account = json.loads((target.folder / "first-account").read_text())
        return {"username": str(account["username"]), "password": str(account["password"])}
    except (AssertionError, OSError, ValueError, KeyError, TypeError):
        raise _signed_out(target) from None


def _signed_out(target: Target) -> errors.Unauthenticated:
    where = (
        f" {target.url}"
        if target.url
        else ""
        if target.folder == data_folder.default_folder()
        else f" --data {target.folder}"
    )
    return errors.Unauthenticated(
        f"you are not signed in to {target}; sign in with: moneyprinter login{where}", reason="TOKEN_INVALID"
    )


def _address(target: Target) -> str:
    """Host and port of a platform's gateway."""
    if target.url:
        return urlsplit(target.url).netloc
    assert target.folder is not None
    running = data_folder.find_platform(target.folder)
    if running is None:
        raise PlatformError(f"no platform runs on {target.folder}; start one with: moneyprinter up")
    return urlsplit(running.url).netloc


def _credentials(target: Target, session: Session) -> grpc.ChannelCredentials | None:
    """The credentials of a channel; None for a gateway on this machine that serves plain text."""
    if target.url:
        if target.url.startswith("http:"):
            return None
        return grpc.ssl_channel_credentials(session.authority.encode() or None)
    assert target.folder is not None
    running = data_folder.find_platform(target.folder)
    if running is None or not running.url.startswith("https:"):
        return None
    return grpc.ssl_channel_credentials(data_folder.authority_file(target.folder).read_bytes())


@contextmanager
def _held(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(target: Target) -> AbstractContextManager[None]:
    """Wait for the turn to renew the session; the turn ends with the context."""
    target.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(target.state / f"{FILE}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return _held(descriptor)


def read_authority(file: Path | None) -> str:
    """The certificate authority in a PEM file; empty for None. Raises WrongRequest."""
    if file is None:
        return ""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError):
        text = ""
    if "BEGIN CERTIFICATE" not in text:
        raise WrongRequest(f"--ca {file}: there is no certificate in PEM form")
    return text
