"""Config: the classes of settings, validated at start.

The settings of a service are the fields of its `Config`, a subclass of `Settings`. The variable
`MONEYPRINTER_STORAGE_CACHE_SIZE` sets the field `cache_size` of the service `storage`; `runtime.layers` reads it, and
the other layers. Secrets are never settings; a setting may name the file of one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _folders(value: object) -> object:
    if isinstance(value, str):
        return [folder for folder in value.split(os.pathsep) if folder]
    return [value] if isinstance(value, Path) else value


Folders = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_folders)]
"""A setting of several folders, separated by colons as in PATH."""

PREFIX = "MONEYPRINTER_"

ENVIRONMENTS = ("development", "staging", "production")

# The ports of ARCHITECTURE.md 1; 8080-8085 are the specification's.
PORTS = {
    "gateway": 8080,
    "orchestrator": 8081,
    "audio": 8082,
    "content": 8083,
    "processing": 8084,
    "config": 8085,
    "validation": 8086,
    "concatenation": 8087,
    "rendering": 8088,
    "storage": 8089,
    "user": 8090,
    "monitoring": 8091,
    "encoder": 8092,
    "ratelimit": 8093,
}
# A client waits at most two seconds for the report that the database is unreachable.
DATABASE_TIMEOUT_SECONDS = 1.5

# Services that only a cluster needs, where several gateways run.
CLUSTER_SERVICES = ("ratelimit",)
SERVICES = tuple(name for name in PORTS if name not in ("gateway", *CLUSTER_SERVICES))
"""The services of every platform."""


class ConfigError(Exception):
    """A setting is missing, misspelt or wrong. The message names it in one line."""


class Settings(BaseSettings):
    """The base of every service's `Config`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    environment_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """The defaults that differ in an environment: by its name, by setting."""

    def find_insecure(self) -> Iterator[tuple[str, str]]:
        """Yield the settings whose values production refuses: the name, and what is refused and what to set."""
        return iter(())


class DatabaseSettings(Settings):
    """The settings of a service with a database."""

    database: str
    """How to connect to PostgreSQL: libpq's conninfo. The password is in its `passfile`."""
    database_timeout_seconds: float = Field(DATABASE_TIMEOUT_SECONDS, gt=0, le=60)
    """The time limit of a transaction; then the database counts as unreachable."""
    database_user: Literal["settings", "issued"] = "settings"
    """The user of the database: that of `database`, or one that the config service issues and replaces, from Vault."""
    database_pooler: bool = False
    """Whether `database` is a pooler that gives each transaction another connection, as PgBouncer does."""

    def find_insecure(self) -> Iterator[tuple[str, str]]:
        """Yield a password in the settings, and a connection to another machine without TLS."""
        # Only services with a database load its library.
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        try:
            found = conninfo_to_dict(self.database)
        except ProgrammingError:
            yield "database", "what is no connection string of PostgreSQL"
            return
        if "password" in found:
            yield "database", "a password in it; name a file with passfile="
        hosts = str(found.get("host") or found.get("hostaddr") or "/").split(",")
        is_local = all(host.startswith("/") or host in ("127.0.0.1", "::1", "localhost") for host in hosts)
        if not is_local and found.get("sslmode") not in ("verify-ca", "verify-full"):
            yield "database", "a connection without verified TLS; add sslmode=verify-full sslrootcert=FILE"


class RuntimeConfig(Settings):
    """The settings of every process of the platform (`MONEYPRINTER_RUNTIME_...`)."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}RUNTIME_")

    certificates: Path = Path("/etc/moneyprinter/certificates")
    """The folder with `ca.pem` and, for each service, `<service>/cert.pem` and `<service>/key.pem`."""
    trust_domain: str = "cluster.local"
    """The SPIFFE trust domain of the mesh."""
    namespace: str = "moneyprinter"
    """The namespace in SPIFFE ids: `spiffe://<trust_domain>/ns/<namespace>/sa/<service>`."""
    bind: str = "127.0.0.1"
    """The address on which servers listen. In a container: `0.0.0.0`."""
    ports: dict[str, int] = PORTS
    """The port of each service, as JSON."""
    further_ports: dict[str, list[int]] = {}
    """The ports of a service's other instances at the same address, as JSON: calls are spread over all of them."""
    hosts: dict[str, str] = {}
    """The host of each service, as JSON, for example `{"audio": "audio.moneyprinter.svc"}`."""
    default_host: str = "127.0.0.1"
    """The host of a service that `hosts` does not name."""
    scratch: Path = Path("/tmp/moneyprinter")  # noqa: S108
    """The folder for temporary files. The next start removes the files of dead processes."""
    ffmpeg: Path = Path("ffmpeg")
    """The ffmpeg program."""
    reflection: bool = False
    """Whether servers describe themselves to tools such as grpcurl."""
    grace_seconds: float = 20.0
    """The time for calls in progress after SIGTERM."""
    unresponsive_seconds: float = Field(60.0, ge=1)
    """After how long `moneyprinter up` ends itself when it no longer responds, so that it can be started again."""
    max_streams: int = Field(2000, ge=1)
    """The number of streams to and from clients at once, such as events, uploads and downloads."""
    streams_per_client: int = Field(20, ge=1)
    """The number of streams of one user at each instance of a service; further ones are refused."""
    client_grace_seconds: float = Field(60.0, gt=0)
    """How long a stream waits for a client that sends or reads nothing."""
    client_bytes_per_second: float = Field(2048.0, gt=0)
    """The lowest average rate at which a client must send or read the bytes of a stream."""
    token_issuer: str = "moneyprinter"
    """The `iss` of user tokens."""
    token_audience: str = "moneyprinter"
    """The `aud` of user tokens."""
    redis: str = ""
    """The URL of Redis or Valkey: `redis://host:port`, `rediss://host:port` with TLS, or `unix:///path`."""
    redis_username: str = ""
    """The ACL user; empty: the default user."""
    redis_password_file: Path | None = None
    """The file with the password, read for each new connection."""
    redis_ca_file: Path | None = None
    """The file of the certificate authority that signed the server's certificate; None: those of the system."""
    metrics_ports: dict[str, int] = {}
    """The port for Prometheus metrics of each service, as JSON; a service without a port exports none."""
    log_level: str = "info"
    """The lowest level that is logged: `debug`, `info`, `warning` or `error`."""
    stored_settings: bool = False
    """Whether a service also reads settings from its secret `<service>/settings` of the config service at its start."""

    environment_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {"staging": {"reflection": True}}

    def find_insecure(self) -> Iterator[tuple[str, str]]:
        """Yield what reveals more of the servers and calls than production should, and Redis elsewhere without TLS."""
        is_local = self.redis.startswith(("redis://127.0.0.1", "redis://[::1]", "redis://localhost"))
        if self.redis.startswith("redis://") and not is_local:
            yield "redis", "Redis without TLS; write rediss://HOST:PORT"
        if self.reflection:
            yield "reflection", "servers that describe themselves; set it to false"
        if self.log_level == "debug":
            yield "log_level", "the level debug; set it to info"

    def address(self, service: str) -> str:
        """Return the `host:port` of a service."""
        return f"{self.hosts.get(service, self.default_host)}:{self.ports[service]}"

    def addresses(self, service: str) -> list[str]:
        """Return the `host:port` of each instance of a service that has its own port."""
        host = self.hosts.get(service, self.default_host)
        return [f"{host}:{port}" for port in (self.ports[service], *self.further_ports.get(service, ()))]
