"""Settings: read from the environment, and a wrong one stops the process with one line that names it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from services.runtime import tls
from services.runtime.config import ConfigError, RuntimeConfig
from services.runtime.layers import load


def test_a_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONEYPRINTER_RUNTIME_GRACE_SECONDS", "3.5")
    monkeypatch.setenv("MONEYPRINTER_RUNTIME_HOSTS", '{"audio": "audio.example"}')
    config = load(RuntimeConfig)
    assert config.grace_seconds == 3.5
    assert config.address("audio") == "audio.example:8082"


def test_a_misspelt_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONEYPRINTER_RUNTIME_GRACE_SECOND", "3.5")
    with pytest.raises(ConfigError, match="MONEYPRINTER_RUNTIME_GRACE_SECOND is no setting"):
        load(RuntimeConfig)


def test_a_wrong_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONEYPRINTER_RUNTIME_GRACE_SECONDS", "soon")
    with pytest.raises(ConfigError, match=r"MONEYPRINTER_RUNTIME_GRACE_SECONDS: .* \(it is set to 'soon'\)"):
        load(RuntimeConfig)


def test_no_service_starts_without_a_certificate(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"content has no .*ca\.pem"):
        tls.find_certificates(RuntimeConfig(certificates=tmp_path), "content")


@pytest.mark.parametrize("key", [b"", b"nothing", "that of another"])
def test_a_certificate_without_its_own_key_stops_the_start(
    certificates: Path, tmp_path: Path, key: bytes | str
) -> None:
    shutil.copytree(certificates, tmp_path / "certificates")
    other = (certificates / "audio" / "key.pem").read_bytes()
    (tmp_path / "certificates" / "content" / "key.pem").write_bytes(key if isinstance(key, bytes) else other)
    found = tls.find_certificates(RuntimeConfig(certificates=tmp_path / "certificates"), "content")
    with pytest.raises(ConfigError, match=r"content/cert\.pem cannot be used"):
        found.server_credentials(lambda: None)
