"""Sessions of the command line: one for each platform and machine, shared by all commands.

A session is stored in a file that only its owner can read: the access token, which commands use until shortly before
it expires, and the refresh token or API key that obtains the next one. Concurrent commands renew it one at a time,
since a refresh token can be used once.
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
from moneyprinter.video.v1 import library_service_pb2 as library_pb
from services.commands.errors import WrongRequest
from services.commands.targets import Target
from services.embedded import data_folder
from services.embedded.errors import PlatformError

FILE = "session"

# How long a platform may take for its first answer.
ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Session:
    """The stored session of this machine with a platform."""

    username: str = ""
    """The username; empty for an API key."""
    access_token: str = ""
    expires_at: float = 0.0
    """When the access token expires, in seconds since 1970."""
    refresh_token: str = ""
    api_key: str = ""
    authority: str = ""
    """The certificate authority, as PEM, that verifies the platform's certificate; empty: the system's."""
    signed_out: bool = False
    """Whether commands require `moneyprinter login` instead of signing in as the first account."""


class SharedClient(Client):
    """A client that shares the tokens of the machine's session with other commands.

    Without a valid session, it signs in as the first account of a platform on this machine, until that account's
    password is refused.
    """

    def __init__(self, target: Target, session: Session) -> None:
        super().__init__(
            _gateway_address(target),
            token=session.access_token,
            refresh_token=session.refresh_token,
            api_key=session.api_key,
            expires_in=session.expires_at - time.time(),
            credentials=_channel_credentials(target, session),
        )
        self._target = target
        self._session = session

    @property
    def can_renew(self) -> bool:
        return True

    async def fetch_tokens(self) -> None:
        """Load tokens that another command has renewed, or renew them, or sign in. Raises `Unauthenticated`."""
        with await asyncio.to_thread(_lock_session, self._target):
            self._session = load_session(self._target) or self._session
            stored = self._session
            self.set_tokens(
                stored.access_token, stored.refresh_token, stored.expires_at - time.time(), api_key=stored.api_key
            )
            if self.expires_in > RENEW_SECONDS and stored.access_token != self._refused_token:
                return
            try:
                if not super().can_renew:
                    raise _signed_out_error(self._target)
                await super().fetch_tokens()
            except errors.Unauthenticated:
                await self._sign_in_as_first_account()
            self.save()

    async def _sign_in_as_first_account(self) -> None:
        if self._session.signed_out:
            raise _signed_out_error(self._target)
        account = _read_first_account(self._target)
        try:
            await self.sign_in(account["username"], account["password"])
        except errors.Unauthenticated:
            # One attempt only: repeated ones would lock the account.
            save_session(self._target, Session(signed_out=True))
            raise _signed_out_error(self._target) from None
        self._session = Session(username=account["username"])

    def save(self) -> None:
        """Write the session to its file."""
        save_session(
            self._target,
            replace(
                self._session,
                access_token=self.token,
                refresh_token=self.refresh_token,
                expires_at=time.time() + self.expires_in,
            ),
        )


def load_session(target: Target) -> Session | None:
    """Return this machine's session with a platform; None when there is no readable one."""
    try:
        return Session(**json.loads((target.state_folder / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def save_session(target: Target, session: Session) -> None:
    """Store a session with a platform, readable by its owner only."""
    target.state_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    data_folder.write_private(target.state_folder / FILE, json.dumps(asdict(session)).encode() + b"\n")


@asynccontextmanager
async def open_client(target: Target) -> AsyncIterator[Client]:
    """Open a client of a platform, signed in with this machine's session or as the first account.

    Raises `PlatformError` when no platform runs on the folder, and `Unauthenticated` when there is no session.
    """
    async with SharedClient(target, load_session(target) or Session()) as client:
        yield client


async def get_access_token(target: Target) -> str:
    """Return a valid access token of the session with a platform."""
    async with open_client(target) as client:
        return client.token


async def sign_in(target: Target, username: str, password: str, *, code: str = "", authority: str = "") -> None:
    """Sign in with a password, and a code of the second factor where it is needed, and store the session.

    Raises `Unauthenticated` when the platform refuses; its reason is MFA_REQUIRED when a code is missing.
    """
    client = SharedClient(target, Session(username=username, authority=authority))
    try:
        kind = {"totp_code" if code.isdigit() else "recovery_code": code}
        await client.sign_in(username, password, **kind)
        client.save()
    finally:
        await client.close()


async def check_platform(target: Target, *, authority: str = "") -> None:
    """Check that a platform answers, before a user enters secrets for it.

    Raises `PlatformError` when none runs on the folder, or nothing at the address answers as a platform.
    """
    credentials = _channel_credentials(target, Session(authority=authority))
    client = Client(_gateway_address(target), credentials=credentials)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await client.library.GetUsage(library_pb.GetUsageRequest())
    except errors.Unauthenticated:
        # The gateway's answer to a call without a token.
        pass
    except (errors.Error, TimeoutError):
        advice = "; check the address"
        if target.url.startswith("https:"):
            advice += ", and give --ca FILE.pem for a platform with a private certificate"
        raise PlatformError(f"no platform answers at {target}{advice}") from None
    finally:
        await client.close()


async def use_api_key(target: Target, api_key: str, *, authority: str = "") -> None:
    """Store an API key as the session with a platform. Raises `Unauthenticated` when the platform refuses it."""
    session = Session(api_key=api_key, authority=authority)
    async with Client(_gateway_address(target), api_key=api_key, credentials=_channel_credentials(target, session)):
        save_session(target, session)


async def sign_out(target: Target) -> None:
    """End the session on the platform, and delete it here."""
    session = load_session(target)
    save_session(target, Session(signed_out=True))
    if session is not None and session.refresh_token:
        client = Client(_gateway_address(target), credentials=_channel_credentials(target, session))
        try:
            await client.users.SignOut(pb.SignOutRequest(refresh_token=session.refresh_token))
        finally:
            await client.close()


def _read_first_account(target: Target) -> dict[str, str]:
    try:
        assert target.folder is not None
        account = json.loads((target.folder / "first-account").read_text())
        return {"username": str(account["username"]), "password": str(account["password"])}
    except (AssertionError, OSError, ValueError, KeyError, TypeError):
        raise _signed_out_error(target) from None


def _signed_out_error(target: Target) -> errors.Unauthenticated:
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


def _gateway_address(target: Target) -> str:
    """Return host and port of a platform's gateway. Raises `PlatformError` when none runs on the folder."""
    if target.url:
        return urlsplit(target.url).netloc
    assert target.folder is not None
    running = data_folder.find_platform(target.folder)
    if running is None:
        raise PlatformError(
            f"no platform runs on {target.folder}; start one with: moneyprinter up, or name another by its address,"
            " such as https://videos.example.com"
        )
    return urlsplit(running.url).netloc


def _channel_credentials(target: Target, session: Session) -> grpc.ChannelCredentials | None:
    """Return the credentials of a channel; None for a gateway that serves plain text."""
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
def _close_afterwards(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _lock_session(target: Target) -> AbstractContextManager[None]:
    """Lock the session for renewal, after waiting for other commands. The context releases the lock."""
    target.state_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(target.state_folder / f"{FILE}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return _close_afterwards(descriptor)


def read_authority(file: Path | None) -> str:
    """Read a certificate authority from a PEM file; empty for None. Raises `WrongRequest` when it holds none."""
    if file is None:
        return ""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError):
        text = ""
    if "BEGIN CERTIFICATE" not in text:
        raise WrongRequest(f"--ca {file}: the file holds no PEM certificate")
    return text
