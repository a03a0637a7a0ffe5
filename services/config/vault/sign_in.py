"""Sign-in: how the config service gets a token of Vault, by AppRole or with its Kubernetes service account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import hvac

from services.runtime.config import ConfigError

SignIn = Callable[[hvac.Client], "Token"]
"""Signs in with a client that has no token. Raises errors of `hvac` and `requests`, and `OSError`."""


@dataclass(frozen=True)
class Token:
    """A token of Vault."""

    value: str
    lease_seconds: float
    """How long it is valid; 0: without end."""
    is_renewable: bool


def sign_in_by_app_role(role_id_file: Path, secret_id_file: Path, *, is_wrapped: bool, mount: str) -> SignIn:
    """Return the sign-in by an AppRole.

    Args:
        role_id_file: The file with the role's id.
        secret_id_file: The file with a secret id of the role.
        is_wrapped: Whether the file holds the token of a response that wraps the secret id. It is unwrapped by the
            first sign-in, and the secret id is kept in memory only; a restart needs a newly wrapped one.
        mount: The mount of the sign-in method.

    Raises `ConfigError` when a file cannot be read.
    """
    role_id = _read_line(role_id_file, "MONEYPRINTER_CONFIG_VAULT_ROLE_ID_FILE")
    stored = _read_line(secret_id_file, "MONEYPRINTER_CONFIG_VAULT_SECRET_ID_FILE")
    unwrapped: list[str] = []

    def sign_in(client: hvac.Client) -> Token:
        if is_wrapped and not unwrapped:
            client.token = stored
            try:
                unwrapped.append(client.sys.unwrap()["data"]["secret_id"])
            finally:
                client.token = ""
        secret_id = unwrapped[0] if is_wrapped else _read_line(secret_id_file, "the secret id")
        response = client.auth.approle.login(role_id, secret_id, use_token=False, mount_point=mount)
        return read_token(response)

    return sign_in


def sign_in_by_kubernetes(role: str, token_file: Path, *, mount: str) -> SignIn:
    """Return the sign-in with the token of a Kubernetes service account, which the kubelet replaces in its file.

    Args:
        role: The role of Vault that is bound to the service account.
        token_file: The file with the token.
        mount: The mount of the sign-in method.

    Raises `ConfigError` when the file cannot be read.
    """
    _read_line(token_file, "MONEYPRINTER_CONFIG_VAULT_KUBERNETES_TOKEN_FILE")

    def sign_in(client: hvac.Client) -> Token:
        jwt = _read_line(token_file, "the service account's token")
        return read_token(client.auth.kubernetes.login(role, jwt, use_token=False, mount_point=mount))

    return sign_in


def read_token(response: dict[str, dict[str, object]]) -> Token:
    """Return the token in the response of a sign-in or a renewal."""
    found = response["auth"]
    return Token(str(found["client_token"]), float(str(found["lease_duration"])), bool(found["renewable"]))


def _read_line(path: Path, setting: str) -> str:
    try:
        return path.read_text().strip()
    except OSError as failure:
        raise ConfigError(f"{setting}: {path} cannot be read ({failure.strerror})") from None
