"""Config: the settings of the config service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import Settings


class Config(Settings):
    """Settings from the environment (`MONEYPRINTER_CONFIG_...`)."""

    model_config = SettingsConfigDict(env_prefix="MONEYPRINTER_CONFIG_")

    vault_url: str = Field("", pattern="^(https://.*)?$")
    """The address of HashiCorp Vault or OpenBao, `https://host:port`. Empty: the secrets are encrypted files."""
    vault_ca_file: Path | None = None
    """The certificates of the authorities that may sign Vault's; unset: those of the system."""
    vault_namespace: str = ""
    """The namespace of Vault."""
    vault_mount: str = Field("moneyprinter", pattern="^[a-z][a-z0-9-]*(/[a-z0-9-]+)*$")
    """The mount of the key-value engine, version 2, that holds the secrets."""
    vault_transit_mount: str = Field("transit", pattern="^[a-z][a-z0-9-]*(/[a-z0-9-]+)*$")
    """The mount of the transit engine, which holds the keys that wrap data keys."""
    vault_database_mount: str = Field("database", pattern="^[a-z][a-z0-9-]*(/[a-z0-9-]+)*$")
    """The mount of the database engine, which makes users of PostgreSQL."""
    vault_sign_in: Literal["kubernetes", "approle"] = "kubernetes"
    """How to sign in: with the token of the Kubernetes service account, or by an AppRole."""
    vault_sign_in_mount: str = ""
    """The mount of the sign-in method; empty: its name."""
    vault_role: str = "moneyprinter-config"
    """The role of Vault that is bound to the Kubernetes service account."""
    vault_kubernetes_token_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    """The file with the token of the Kubernetes service account."""
    vault_role_id_file: Path = Path("/etc/moneyprinter/vault/role-id")
    """The file with the id of the AppRole."""
    vault_secret_id_file: Path = Path("/etc/moneyprinter/vault/secret-id")
    """The file with a secret id of the AppRole."""
    vault_secret_id_is_wrapped: bool = False
    """Whether that file holds the token of a wrapped response instead, which can be used once."""
    vault_timeout_seconds: float = Field(3.0, gt=0, le=10)
    """The limit of a call of Vault."""
    cache_seconds: float = Field(10.0, ge=0)
    """How long a secret of Vault is returned without reading it again."""
    outage_seconds: float = Field(3600.0, ge=0)
    """How long a secret that was read is returned while Vault cannot be used."""
    rotates_keys: bool = True
    """Whether keys that wrap data keys are rotated when they are due."""
    store: Path = Path("/var/lib/moneyprinter/config")
    """The folder of the encrypted secrets."""
    master_key_file: Path = Path("/etc/moneyprinter/config-master-key")
    """The file with the 32 bytes that encrypt the secrets. File and folder together reveal all secrets."""

    # Production goes on through a day without Vault.
    environment_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {"production": {"outage_seconds": 86400.0}}
