"""The environment variables that configure the services of the laptop platform, as a cluster's manifests do."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from services.embedded import binaries
from services.embedded.data_folder import write_private
from services.embedded.postgres import Postgres
from services.runtime.config import PREFIX

MASTER_KEY_BYTES = 32
GRACE_SECONDS = 5.0


def runtime_variables(data: Path, ports: Mapping[str, int], further: Mapping[str, list[int]]) -> dict[str, str]:
    """Return the settings of the runtime: `ports` of the first instances, `further` of the others."""
    return {
        f"{PREFIX}RUNTIME_CERTIFICATES": str(data / "certificates"),
        f"{PREFIX}RUNTIME_PORTS": json.dumps(dict(ports)),
        f"{PREFIX}RUNTIME_FURTHER_PORTS": json.dumps(dict(further)),
        f"{PREFIX}RUNTIME_SCRATCH": str(data / "scratch"),
        f"{PREFIX}RUNTIME_FFMPEG": str(binaries.ffmpeg_program()),
        f"{PREFIX}RUNTIME_GRACE_SECONDS": str(GRACE_SECONDS),
    }


def service_variables(data: Path, postgres: Postgres, nats_url: str) -> dict[str, str]:
    """Return the settings of the services. Creates the master key when the folder has none."""
    fonts = os.pathsep.join(map(str, font_folders()))
    master_key = data / "master-key"
    if not master_key.exists():
        write_private(master_key, secrets.token_bytes(MASTER_KEY_BYTES))
    return {
        f"{PREFIX}CONFIG_STORE": str(data / "secrets"),
        f"{PREFIX}CONFIG_MASTER_KEY_FILE": str(master_key),
        f"{PREFIX}STORAGE_ROOT": str(data / "objects"),
        f"{PREFIX}USER_DATABASE": postgres.conninfo("user"),
        f"{PREFIX}USER_FIRST_ACCOUNT_FILE": str(data / "first-account"),
        f"{PREFIX}ORCHESTRATOR_DATABASE": postgres.conninfo("orchestrator"),
        f"{PREFIX}ORCHESTRATOR_NATS": nats_url,
        f"{PREFIX}ORCHESTRATOR_SHARES_MACHINE": "true",
        f"{PREFIX}AUDIO_ESPEAK_LIBRARY": str(binaries.espeak_library()),
        f"{PREFIX}AUDIO_ESPEAK_DATA": str(binaries.espeak_data()),
        f"{PREFIX}AUDIO_KOKORO_CACHE": str(data / "cache" / "kokoro"),
        # A user's own choice stands: an empty model means that espeak-ng speaks.
        f"{PREFIX}AUDIO_KOKORO_MODEL": os.environ.get(
            f"{PREFIX}AUDIO_KOKORO_MODEL", os.pathsep.join(map(str, binaries.kokoro_model()))
        ),
        f"{PREFIX}AUDIO_PROVIDERS_FILE": str(data / "providers.json"),
        # Content measures text with these fonts, and processing draws it: both need the same.
        f"{PREFIX}CONTENT_FONTS": fonts,
        f"{PREFIX}CONTENT_PROVIDERS_FILE": str(data / "providers.json"),
        f"{PREFIX}PROCESSING_FONTS": fonts,
    }


def local_address_variables() -> dict[str, str]:
    """Return the settings that allow clips from, and webhooks to, this machine, also without TLS."""
    return {
        f"{PREFIX}VALIDATION_ALLOW_HTTP": "true",
        f"{PREFIX}VALIDATION_ALLOWED_NETWORKS": json.dumps(["127.0.0.0/8", "::1/128"]),
    }


def font_folders() -> list[Path]:
    """Return the folders with fonts: the platform's first, so that captions look alike on every machine."""
    own = [Path.home() / folder for folder in (".local/share/fonts", ".fonts")]
    system = [Path(folder) for folder in ("/usr/local/share/fonts", "/usr/share/fonts")]
    # The setting is a list separated by colons, so it cannot hold a folder whose name has one.
    return binaries.font_folders() + [
        folder for folder in own + system if folder.is_dir() and os.pathsep not in str(folder)
    ]


@contextmanager
def set_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables in this process's environment while the context is open, and restore them afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
