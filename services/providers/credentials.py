"""Credentials: the keys and addresses of a service's providers, from the config service or from a file.

One JSON document has all providers of a service: `{"openai": {"keys": ["..."], "base_url": "..."}, ...}`. It is the
secret `<service>/providers` of the config service; a machine without an operator's tools has it in a file instead.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from moneyprinter.errors import Error
from services.providers.client import prepare_clients
from services.runtime.config import ConfigError
from services.runtime.secrets import SecretClient
from services.runtime.tasks import wait_any

log = structlog.get_logger()

MAX_BYTES = 64 * 1024
MAX_KEYS = 50
REFRESH_SECONDS = 300.0
RETRY_SECONDS = 10.0
READY_SECONDS = 3.0

_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
# Keys go into headers: visible ASCII.
_KEY = re.compile(r"[\x21-\x7e]{1,4096}")


class Use(StrEnum):
    """What a provider is used for."""

    SPEECH = "speech"
    WRITING = "writing"
    FOOTAGE = "footage"
    MODERATION = "moderation"


@dataclass(frozen=True)
class Credentials:
    """The keys of a provider, and where it is."""

    keys: tuple[str, ...] = field(repr=False)
    base_url: str = ""
    """The address of a compatible server; empty: the provider's own."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Further settings, such as a region or a model, by name."""

    def serves(self, use: Use) -> bool:
        """Whether the provider may be used for a purpose: the option `uses` names it, or is missing."""
        return use in self.options.get("uses", tuple(Use))


def parse_credentials(data: bytes, source: str) -> dict[str, Credentials]:
    """Parse the document with the credentials of all providers.

    Args:
        data: The JSON document.
        source: What it was read from, for errors.

    Raises `ConfigError`, whose message shows no part of a value.
    """
    try:
        document = json.loads(data) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ConfigError(f"{source} is no JSON object of at most {MAX_BYTES} bytes")
    return {name: _parse_one(name, fields, source) for name, fields in document.items()}


def _parse_one(name: str, fields: Any, source: str) -> Credentials:
    if not _NAME.fullmatch(name) or not isinstance(fields, dict):
        raise ConfigError(f"{source} maps names of providers, such as openai, to JSON objects")
    keys, base_url = fields.get("keys", []), fields.get("base_url", "")
    if not isinstance(keys, list) or len(keys) > MAX_KEYS or not all(_is_key(key) for key in keys):
        raise ConfigError(f"{source}: the keys of {name} are no list of at most {MAX_KEYS} keys in visible ASCII")
    if not isinstance(base_url, str) or (base_url and not _is_address(base_url)):
        raise ConfigError(
            f"{source}: the base_url of {name} is no http or https address without user, query and fragment"
        )
    uses = fields.get("uses", [])
    if not isinstance(uses, list) or not all(use in tuple(Use) for use in uses):
        raise ConfigError(f"{source}: the uses of {name} are no list of {', '.join(Use)}")
    options = {option: value for option, value in fields.items() if option not in ("keys", "base_url")}
    return Credentials(tuple(keys), base_url, options)


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and bool(_KEY.fullmatch(key))


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)) and (
            parts.username is None and (parts.port or 1) > 0
        )
    except ValueError:
        return False


class CredentialMonitor:
    """Reads the credentials at the start and every five minutes, and passes on those that differ.

    Before it does, it loads what clients of providers share, so that `apply` may create them on the event loop.

    Args:
        secrets: The secrets of this service.
        service: The name of this service.
        file: A file with the document, which is read where there is no secret; None: no file.
        apply: Takes the credentials of all providers.
    """

    def __init__(
        self,
        secrets: SecretClient,
        service: str,
        file: Path | None,
        apply: Callable[[Mapping[str, Credentials]], Awaitable[None]],
    ) -> None:
        self._secrets = secrets
        self._name = f"{service}/providers"
        self._file = file
        self._apply = apply
        self._ready = asyncio.Event()
        self._applied: dict[str, Credentials] | None = None

    async def wait_ready(self) -> None:
        """Wait until the credentials have been read once, at most READY_SECONDS."""
        await wait_any(self._ready, seconds=READY_SECONDS)

    async def run(self) -> None:
        """Read the credentials at intervals, until cancelled. Those of before stay in use while they cannot be read."""
        while True:
            seconds = REFRESH_SECONDS if await self.refresh() else RETRY_SECONDS
            await asyncio.sleep(seconds)

    async def refresh(self) -> bool:
        """Read the credentials once. Returns False when they could not be read."""
        try:
            credentials = await self._read()
        except (Error, ConfigError) as failure:
            log.warning("keys of providers not read", secret=self._name, error=str(failure))
            return False
        if credentials != self._applied:
            if credentials:
                # In a thread: it would block the event loop for up to a second.
                await asyncio.to_thread(prepare_clients)
            await self._apply(credentials)
            self._applied = credentials
        self._ready.set()
        return True

    async def _read(self) -> dict[str, Credentials]:
        if secret := await self._secrets.read(self._name):
            return parse_credentials(secret.value, f"the secret {self._name}")
        if self._file is None:
            return {}
        try:
            data = await asyncio.to_thread(_read_limited, self._file)
        except FileNotFoundError:
            return {}
        except OSError as failure:
            raise ConfigError(f"the file with the keys of providers cannot be read: {failure.strerror}") from None
        return parse_credentials(data, "the file with the keys of providers")


def _read_limited(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
