"""Redis: a client of Redis or Valkey whose operations take little time, also when the server is away, slow or full.

Nothing in Redis is the only copy of anything: PostgreSQL is the truth, and callers work without Redis.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import redis.asyncio
import structlog
from redis.asyncio.connection import parse_url
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError

from moneyprinter.errors import Unavailable
from services.runtime.config import ConfigError, RuntimeConfig
from services.runtime.tasks import cancel

log = structlog.get_logger()

T = TypeVar("T")

# One call may wait so long; then calls work without Redis until a probe has succeeded.
OPERATION_SECONDS = 0.5
PROBE_SECONDS = 2.0
"""How long a probe may take, which may begin with a TLS handshake."""
PAUSE_SECONDS = 0.25
# A failure of one kind of operation, such as a missing right, repeats after each probe.
LOG_SECONDS = 60.0
MAX_CONNECTIONS = 16
_SCHEMES = ("redis://", "rediss://", "unix://")
_PROBE = "moneyprinter:probe"
_FAILURES = (RedisError, OSError, TimeoutError)


class RedisClient:
    """A pool of connections. Operations fail within `OPERATION_SECONDS`.

    After a failure they fail at once, and a task probes the server until it works: a hung one delays few calls.
    """

    def __init__(self, connections: redis.asyncio.Redis) -> None:
        self._connections = connections
        self._recovery: asyncio.Task[None] | None = None
        self._logged = float("-inf")

    async def run(self, operation: Callable[[redis.asyncio.Redis], Awaitable[T]]) -> T:
        """Return the result of an operation on the connections.

        Raises `Unavailable` when the server cannot be reached, does not answer in time, or refuses the operation, for
        example because its memory is full or the password is wrong.
        """
        if self._recovery is not None:
            raise _unavailable()
        try:
            async with asyncio.timeout(OPERATION_SECONDS):
                return await operation(self._connections)
        except _FAILURES as failure:
            if self._recovery is None:
                self._recovery = asyncio.create_task(self._recover(), name="Redis recovery")
                if time.monotonic() - self._logged > LOG_SECONDS:
                    self._logged = time.monotonic()
                    # The message of a connection error has the address, and no message has the password.
                    log.warning("Redis cannot be used", error=type(failure).__name__, detail=str(failure)[:200])
            raise _unavailable() from failure

    async def check(self) -> None:
        """Write a key: a server with full memory still reads. Raises `Unavailable` as `run` does."""
        await self.run(_write_probe)

    async def close(self) -> None:
        """Close the connections."""
        if self._recovery is not None:
            await cancel(self._recovery)
        await self._connections.aclose()

    async def _recover(self) -> None:
        """Probe the server until it works."""
        while True:
            # After a restart of the server, each of them would fail once.
            await self._connections.connection_pool.disconnect(inuse_connections=False)
            await asyncio.sleep(PAUSE_SECONDS)
            with suppress(*_FAILURES):
                async with asyncio.timeout(PROBE_SECONDS):
                    await _write_probe(self._connections)
                self._recovery = None
                log.info("Redis can be used again")
                return


async def _write_probe(connections: redis.asyncio.Redis) -> None:
    await connections.set(_PROBE, "1", px=1000)


@asynccontextmanager
async def open_client(config: RuntimeConfig) -> AsyncIterator[RedisClient | None]:
    """Open a client of the server of the settings while the context is open; None when there is none.

    The first operation connects. Raises `ConfigError` when a setting is wrong.
    """
    if not config.redis:
        yield None
        return
    client = RedisClient(_connections(config))
    try:
        yield client
    finally:
        await client.close()


def _connections(config: RuntimeConfig) -> redis.asyncio.Redis:
    options: dict[str, Any] = {
        "socket_timeout": PROBE_SECONDS,
        "socket_connect_timeout": PROBE_SECONDS,
        "max_connections": MAX_CONNECTIONS,
        "timeout": OPERATION_SECONDS,
        "retry": None,
        "protocol": 2,
        "decode_responses": True,
    }
    if not config.redis.startswith(_SCHEMES):
        raise ConfigError("MONEYPRINTER_RUNTIME_REDIS: write redis://host:6379, rediss://host:6379 or unix:///path")
    if "@" in config.redis:
        raise ConfigError(
            "MONEYPRINTER_RUNTIME_REDIS: the URL must not hold a name or a password; set"
            " MONEYPRINTER_RUNTIME_REDIS_USERNAME and MONEYPRINTER_RUNTIME_REDIS_PASSWORD_FILE"
        )
    if config.redis_username and config.redis_password_file is None:
        raise ConfigError("MONEYPRINTER_RUNTIME_REDIS_USERNAME needs MONEYPRINTER_RUNTIME_REDIS_PASSWORD_FILE")
    if config.redis_ca_file is not None and not config.redis.startswith("rediss://"):
        raise ConfigError("MONEYPRINTER_RUNTIME_REDIS_CA_FILE needs TLS: write rediss:// in MONEYPRINTER_RUNTIME_REDIS")
    if config.redis_password_file is not None:
        options["credential_provider"] = _FileCredentials(config.redis_username, config.redis_password_file)
    try:
        options |= parse_url(config.redis)
        if config.redis.startswith("rediss://"):
            context = ssl.create_default_context(cafile=config.redis_ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            options |= {"connection_class": _TlsConnection, "context": context}
    except ValueError as failure:
        raise ConfigError(f"MONEYPRINTER_RUNTIME_REDIS: {failure}") from None
    except OSError:
        raise ConfigError("MONEYPRINTER_RUNTIME_REDIS_CA_FILE names no file with certificates") from None
    return redis.asyncio.Redis.from_pool(redis.asyncio.BlockingConnectionPool(**options))


class _TlsConnection(redis.asyncio.SSLConnection):
    """A TLS connection with a shared context.

    The library makes a context for each connection, which reads the authorities of the system: 50 ms in which the event
    loop does nothing else, and it trusts them beside the one of the settings.
    """

    def __init__(self, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = context


class _FileCredentials(CredentialProvider):
    """Reads the password for each new connection, so that a rotated one is used without a restart."""

    def __init__(self, username: str, file: Path) -> None:
        self._username = username
        self._file = file

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._file.read_text().strip()
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def _unavailable() -> Unavailable:
    return Unavailable(
        "Redis cannot be used; try again in a moment", reason="SERVICE_UNAVAILABLE", retry_after_seconds=1.0
    )
