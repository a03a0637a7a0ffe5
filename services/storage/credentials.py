"""Credentials: the keys of the bucket, from a secret of the config service or from a file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

import structlog

from moneyprinter.errors import Error
from services.runtime.config import ConfigError
from services.storage.config import Config

NAME = "storage/credentials"
MAX_BYTES = 64 * 1024

ReadCredentials: TypeAlias = Callable[[], Awaitable[Mapping[str, str]]]

# The credentials of each kind of store: one of the sets of fields, as obstore names them.
FIELDS: Mapping[str, tuple[frozenset[str], ...]] = {
    "s3": (
        frozenset({"access_key_id", "secret_access_key"}),
        frozenset({"access_key_id", "secret_access_key", "session_token"}),
    ),
    "gs": (frozenset({"service_account_key"}),),
    "az": (
        frozenset({"account_key"}),
        frozenset({"sas_key"}),
        frozenset({"client_id", "client_secret", "tenant_id"}),
    ),
}


log = structlog.get_logger()


class _Secret(Protocol):
    @property
    def value(self) -> bytes:
        """The content of the secret."""


class Secrets(Protocol):
    """The secrets of the config service."""

    async def read(self, name: str) -> _Secret | None:
        """Return the newest version of a secret; None when there is none."""


def credentials_reader(config: Config, secrets: Secrets) -> ReadCredentials:
    """Return a function that reads the current credentials. It raises `ConfigError` when they are missing or wrong."""
    scheme = config.url.partition(":")[0]

    async def read() -> Mapping[str, str]:
        if config.credentials == "file":
            return parse_credentials(
                _read_file(config.credentials_file), scheme, "the file of the bucket's credentials"
            )
        secret = await secrets.read(NAME)
        if secret is None:
            raise ConfigError(
                f"the secret {NAME} does not exist; write the credentials of the bucket to it, or set "
                "MONEYPRINTER_STORAGE_CREDENTIALS to file or workload"
            )
        return parse_credentials(secret.value, scheme, f"the secret {NAME}")

    return read


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as failure:
        raise ConfigError(f"MONEYPRINTER_STORAGE_CREDENTIALS_FILE cannot be read: {failure.strerror}") from None


def parse_credentials(data: bytes, scheme: str, source: str) -> Mapping[str, str]:
    """Parse a JSON object with the credentials of a store of a scheme (`s3`, `gs` or `az`).

    Raises `ConfigError`, whose message shows no part of a value.
    """
    try:
        document = json.loads(data) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and set(document) == {"service_account_key"}:
        # Google's key file is JSON itself; it may be nested as it is.
        key = document["service_account_key"]
        document = {"service_account_key": json.dumps(key) if isinstance(key, dict) else key}
    if not isinstance(document, dict) or not all(isinstance(value, str) and value for value in document.values()):
        raise ConfigError(f"{source}: it is no JSON object of texts of at most {MAX_BYTES} bytes")
    if frozenset(document) not in FIELDS[scheme]:
        choices = "; or ".join(", ".join(sorted(fields)) for fields in FIELDS[scheme])
        raise ConfigError(f"{source} must have the fields {choices}")
    return document


class CredentialCache:
    """The current credentials, which `run` reads again at an interval.

    obstore asks for credentials in threads without an event loop, in the midst of an upload, and so cannot await them.
    """

    def __init__(self, read: ReadCredentials, seconds: float) -> None:
        self._read = read
        self.seconds = seconds
        self.values: Mapping[str, str] = {}

    async def refresh(self) -> None:
        """Read the credentials. Raises `ConfigError` when they are missing or wrong."""
        self.values = await self._read()

    async def run(self) -> None:
        """Read the credentials again at an interval, until cancelled. Those that cannot be read stay as they are."""
        while True:
            await asyncio.sleep(self.seconds)
            try:
                await self.refresh()
            except (ConfigError, Error) as failure:
                log.warning("credentials of the bucket not read, retrying later", error=str(failure))
