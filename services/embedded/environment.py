"""Environment: what the services of the laptop platform are told, as a cluster would tell them."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from services.embedded import wheels
from services.embedded.folder import write_private
from services.embedded.postgres import Postgres
from services.runtime.config import PREFIX

MASTER_KEY_BYTES = 32
GRACE_SECONDS = 5.0


def of_runtime(data: Path, ports: Mapping[str, int], further: Mapping[str, list[int]]) -> dict[str, str]:
    """The settings of the runtime, for a platform on a data folder."""
    return {
        f"{PREFIX}RUNTIME_CERTIFICATES": str(data / "certificates"),
        f"{PREFIX}RUNTIME_PORTS": json.dumps(dict(ports)),
        f"{PREFIX}RUNTIME_FURTHER_PORTS": json.dumps(dict(further)),
        f"{PREFIX}RUNTIME_SCRATCH": str(data / "scratch"),
        f"{PREFIX}RUNTIME_FFMPEG": str(wheels.ffmpeg()),
        f"{PREFIX}RUNTIME_GRACE_SECONDS": str(GRACE_SECONDS),
    }


def of_services(data: Path, postgres: Postgres, nats_url: str) -> dict[str, str]:
    """The settings of the services. A master key is made when there is none."""
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
        f"{PREFIX}AUDIO_ESPEAK_LIBRARY": str(wheels.espeak_library()),
        f"{PREFIX}AUDIO_ESPEAK_DATA": str(wheels.espeak_data()),
        # The same for both: what the one measures and names, the other draws.
        f"{PREFIX}CONTENT_FONTS": fonts,
        f"{PREFIX}PROCESSING_FONTS": fonts,
    }


def of_local_addresses() -> dict[str, str]:
    """The settings with which clips may come from this machine, and webhooks be posted to it, without TLS."""
    return {
        f"{PREFIX}VALIDATION_ALLOW_HTTP": "true",
        f"{PREFIX}VALIDATION_ALLOWED_NETWORKS": json.dumps(["127.0.0.0/8", "::1/128"]),
    }


def font_folders() -> list[Path]:
    """The folders with fonts: ours first, so that captions look alike everywhere, then this user's and the system's."""
    own = [Path.home() / folder for folder in (".local/share/fonts", ".fonts")]
    system = [Path(folder) for folder in ("/usr/local/share/fonts", "/usr/share/fonts")]
    # A folder whose name has a colon cannot be named in a list that colons part.
    return wheels.fonts() + [folder for folder in own + system if folder.is_dir() and os.pathsep not in str(folder)]


@contextmanager
def applied(variables: Mapping[str, str]) -> Iterator[None]:
    """Have variables in this process's environment while the context is open."""
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
