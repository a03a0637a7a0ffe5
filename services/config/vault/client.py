"""Client: a connection to Vault whose token stays valid.

`run` signs in, renews the token before it expires, and signs in anew when it was revoked or cannot be renewed any
longer. While Vault does not respond, or is sealed, calls fail at once, and `run` tries again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import hvac
import requests
import structlog
from hvac import exceptions

from moneyprinter.errors import Unavailable
from services.config.vault.sign_in import SignIn, Token, read_token
from services.runtime.config import ConfigError

log = structlog.get_logger()

T = TypeVar("T")

# A token is renewed when this part of its lease has passed.
_RENEW_AFTER = 2 / 3
# A renewal that gives less than this part of the first lease: the token's maximum is near, and a new one is due.
_SHORT_LEASE = 1 / 3
_LONGEST_PAUSE_SECONDS = 3600.0
_RETRY_SECONDS = 1.0
_REFUSED = (exceptions.Forbidden, exceptions.Unauthorized)
# For an answer without JSON, as when the server is sealed meanwhile, hvac returns another type or lacks a field.
_NO_JSON = (TypeError, KeyError)
_FAILURES = (exceptions.VaultError, requests.RequestException, OSError, ConfigError, *_NO_JSON)


@dataclass(frozen=True)
class VaultAddress:
    """Where Vault is."""

    url: str
    ca_file: Path | None
    """The certificates of the authorities that may sign Vault's; None: those of the system."""
    namespace: str
    """The namespace of Vault Enterprise or OpenBao; empty: none."""
    timeout_seconds: float
    """The limit of connecting, and of waiting for each part of a response."""


class VaultClient:
    """Calls Vault with a token that it keeps valid while `run` runs."""

    def __init__(self, address: VaultAddress, sign_in: SignIn) -> None:
        self._address = address
        self._sign_in = sign_in
        self._token: Token | None = None
        self._first_lease = 0.0
        self._failure = "the first sign-in has not ended"
        self._refusal = ""
        self._refused_token = ""
        self._is_due = asyncio.Event()
        self._signed_in = asyncio.Condition()
        self._client = self._open()

    def _open(self) -> hvac.Client:
        address = self._address
        if address.ca_file is not None:
            try:
                ssl.create_default_context(cafile=address.ca_file)
            except OSError as failure:
                raise ConfigError(f"MONEYPRINTER_CONFIG_VAULT_CA_FILE: {address.ca_file}: {failure}") from None
        session = requests.Session()
        # Neither proxies nor passwords come from the environment.
        session.trust_env = False
        session.verify = str(address.ca_file) if address.ca_file else True
        return hvac.Client(
            url=address.url,
            token="",  # None would read one from the environment or the home folder.
            namespace=address.namespace or None,
            timeout=address.timeout_seconds,
            session=session,
            allow_redirects=False,
        )

    async def check(self) -> None:
        """Raise `Unavailable` when Vault cannot be used, or refused the last operation."""
        if problem := self._failure or self._refusal:
            raise _unavailable(problem)

    async def call(self, operation: Callable[[hvac.Client], T]) -> T:
        """Return the result of `operation`, which runs in a thread with a signed-in client.

        When Vault refuses the token, it runs once more with a new one. Raises `Unavailable` (SECRETS_UNAVAILABLE) when
        Vault does not respond, is sealed, or refuses, and other errors of `hvac` as they are.
        """
        token = self._require_sign_in()
        try:
            return await self._run(operation)
        except _REFUSED:
            await self._replace(token)
        try:
            return await self._run(operation)
        except _REFUSED as failure:
            # The new token is valid, so its policies do not allow the operation.
            self._refusal = "Vault does not allow it; check the policies of the config service's role"
            log.error("vault refuses an operation", error=_describe(failure))
            raise _unavailable(self._refusal) from None

    async def run(self) -> None:
        """Keep the token valid until it is cancelled."""
        while True:
            self._is_due.clear()
            pause = await self._refresh()
            try:
                async with asyncio.timeout(pause):
                    await self._is_due.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Close the connections. The token expires by itself."""
        await asyncio.to_thread(self._client.adapter.close)

    def _require_sign_in(self) -> Token:
        if self._failure or not self._token:
            raise _unavailable(self._failure)
        return self._token

    async def _run(self, operation: Callable[[hvac.Client], T]) -> T:
        try:
            result = await asyncio.to_thread(operation, self._client)
        except (*_REFUSED, exceptions.InvalidPath, exceptions.InvalidRequest):
            raise
        except _FAILURES as failure:
            if is_write_conflict(failure):
                raise
            self._fail(failure)
            self._is_due.set()
            raise _unavailable(self._failure) from None
        self._refusal = ""
        return result

    async def _replace(self, refused: Token) -> None:
        """Wait until `run` has replaced a token that Vault refused. Raises `Unavailable` when it cannot."""
        self._refused_token = refused.value
        async with self._signed_in:
            while self._token and self._token.value == refused.value and not self._failure:
                self._is_due.set()
                await self._signed_in.wait()
        self._require_sign_in()

    async def _refresh(self) -> float:
        """Sign in, or renew the token, and return the seconds until the next time."""
        try:
            token = await self._renew()
            if token is None:
                token = await asyncio.to_thread(self._sign_in, self._client)
                self._first_lease = token.lease_seconds
                log.info("signed in to vault", lease_seconds=token.lease_seconds)
            self._client.token = token.value
            self._token, self._failure = token, ""
            lease = token.lease_seconds or _LONGEST_PAUSE_SECONDS
            return min(lease * _RENEW_AFTER, _LONGEST_PAUSE_SECONDS)
        except _FAILURES as failure:
            self._fail(failure)
            return _RETRY_SECONDS
        finally:
            async with self._signed_in:
                self._signed_in.notify_all()

    async def _renew(self) -> Token | None:
        """Renew the token; None when a new one is needed."""
        if not self._token or not self._token.is_renewable or self._token.value == self._refused_token:
            return None
        try:
            token = read_token(await asyncio.to_thread(self._client.auth.token.renew_self))
        except (*_REFUSED, exceptions.InvalidRequest):
            return None
        return token if token.lease_seconds >= self._first_lease * _SHORT_LEASE else None

    def _fail(self, failure: Exception) -> None:
        description = _describe(failure)
        if description != self._failure:
            log.error("vault cannot be used", error=description)
        self._failure = description


def is_write_conflict(failure: Exception) -> bool:
    """Return whether OpenBao refused an operation because another one wrote the same at once: it may be repeated."""
    return isinstance(failure, exceptions.InternalServerError) and "transaction commit failed" in str(failure)


def _unavailable(problem: str) -> Unavailable:
    return Unavailable(
        f"the store of the secrets cannot be used: {problem}", reason="SECRETS_UNAVAILABLE", retry_after_seconds=2
    )


def _describe(failure: Exception) -> str:
    """The failure in words that name neither a token nor an address."""
    if isinstance(failure, exceptions.VaultDown):
        return "Vault is sealed or has no leader"
    if isinstance(failure, requests.exceptions.SSLError):
        return "the certificate of Vault is not trusted"
    if isinstance(failure, requests.Timeout):
        return "Vault did not respond in time"
    if isinstance(failure, requests.RequestException):
        return "Vault cannot be reached"
    if isinstance(failure, exceptions.VaultError):
        return f"Vault answered with {type(failure).__name__}: {', '.join(failure.errors or ()) or 'no text'}"
    if isinstance(failure, _NO_JSON):
        return "Vault answered without the expected JSON"
    return str(failure)
