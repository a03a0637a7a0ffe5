"""Stores: the store of obstore that the settings name, and the credentials of a bucket."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, S3Store

from services.runtime.config import ConfigError
from services.storage.config import Config
from services.storage.credentials import CredentialCache

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Credential

Store: TypeAlias = LocalStore | MemoryStore | S3Store | GCSStore | AzureStore

# obstore reads these by itself; credentials in the environment are visible to every child process and in dumps.
FORBIDDEN_VARIABLES = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("GOOGLE_SERVICE_ACCOUNT_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_SAS_KEY"),
)


async def open_store(config: Config, credentials: CredentialCache) -> Store:
    """Open the store that the settings name. No request is sent to a bucket yet.

    Raises `ConfigError` when the settings do not fit together, or the credentials are missing or wrong.
    """
    url = urlsplit(config.url)
    match url.scheme:
        case "" | "file":
            return _open_folder(Path(url.path) if config.url else config.root)
        case "memory":
            return MemoryStore()
    if found := next((name for name in FORBIDDEN_VARIABLES if os.environ.get(name)), None):
        raise ConfigError(
            f"{found} is set: credentials of a bucket are not read from the environment; remove the variable, and use "
            "MONEYPRINTER_STORAGE_CREDENTIALS"
        )
    if config.endpoint.startswith("http://") and not config.allow_http:
        raise ConfigError(
            "MONEYPRINTER_STORAGE_ENDPOINT has no TLS; use https://, or set MONEYPRINTER_STORAGE_ALLOW_HTTP for a "
            "server on this machine"
        )
    if config.credentials != "workload":
        await credentials.refresh()
    given: dict[str, Any] = dict(credentials.values)
    options: dict[str, Any] = {
        "prefix": url.path.strip("/") or None,
        "client_options": _client_options(config),
        "retry_config": _retry_config(config),
    }
    try:
        match url.scheme:
            case "s3":
                return _open_s3(config, url.netloc, options, credentials)
            case "gs":
                return GCSStore(url.netloc, **options, **_endpoint(config, "base_url"), **given)
            case _:
                if not config.azure_account:
                    raise ConfigError("MONEYPRINTER_STORAGE_AZURE_ACCOUNT must name the account of the container")
                endpoint = _endpoint(config, "endpoint")
                return AzureStore(url.netloc, account_name=config.azure_account, **options, **endpoint, **given)
    except (BaseError, ValueError, TypeError) as failure:
        # The messages of obstore name settings; those about keys could show a part of one.
        raise ConfigError(f"the credentials or settings of {config.url} are wrong ({type(failure).__name__})") from None


def _open_folder(root: Path) -> LocalStore:
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as failure:
        raise ConfigError(f"the folder of the objects cannot be used: {failure}") from None
    return LocalStore(root)


def _open_s3(config: Config, bucket: str, options: dict[str, Any], credentials: CredentialCache) -> S3Store:
    endpoint = config.endpoint.rstrip("/")
    if endpoint and not config.path_style:
        scheme, _, host = endpoint.partition("://")
        endpoint = f"{scheme}://{bucket}.{host}"
    if config.credentials != "workload":
        options["credential_provider"] = _s3_credentials(credentials)
    if endpoint:
        options["endpoint"] = endpoint
    return S3Store(
        bucket,
        region=config.region,
        virtual_hosted_style_request=not config.path_style,
        # A copy that does not overwrite: it completes a multipart upload under the condition `If-None-Match: *`.
        copy_if_not_exists="multipart",
        **options,
    )


def _s3_credentials(credentials: CredentialCache) -> Callable[[], S3Credential]:
    """Return a function that returns the current credentials, and when obstore asks for them again."""

    def provide() -> S3Credential:
        given = credentials.values
        return {
            "access_key_id": given["access_key_id"],
            "secret_access_key": given["secret_access_key"],
            "token": given.get("session_token"),
            # obstore replaces credentials five minutes before they expire.
            "expires_at": datetime.now(UTC) + timedelta(seconds=300 + credentials.seconds),
        }

    return provide


def _endpoint(config: Config, name: str) -> dict[str, Any]:
    return {name: config.endpoint.rstrip("/")} if config.endpoint else {}


def _client_options(config: Config) -> ClientConfig:
    options: ClientConfig = {
        "timeout": timedelta(seconds=config.timeout_seconds),
        "connect_timeout": timedelta(seconds=config.connect_timeout_seconds),
        "allow_http": config.allow_http,
        "user_agent": "moneyprinter-storage",
    }
    if config.ca_file is not None:
        try:
            options["root_certificate"] = config.ca_file.read_bytes()
        except OSError as failure:
            raise ConfigError(f"MONEYPRINTER_STORAGE_CA_FILE cannot be read: {failure.strerror}") from None
    return options


def _retry_config(config: Config) -> RetryConfig:
    return {
        "max_retries": config.retries,
        "retry_timeout": timedelta(seconds=config.retry_seconds),
        "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=5), "base": 2},
    }
