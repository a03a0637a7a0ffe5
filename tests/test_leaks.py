"""The search for secrets in logs finds each form of each secret, and real platforms leak none (`tests.up`)."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from services.config.encrypted_files import EncryptedFiles
from tests.leaks import find_leaks

MASTER_KEY = bytes(range(100, 132))
SECRETS = {
    "password": b"the-password-of-user",
    "account": b"the-password-of-the-first",
    "root": b"a key of 32 bytes for everything",
    "kek": bytes(range(32)),
}


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A data folder with a secret of each kind, and an empty log."""
    for folder in ("passwords", "logs", "certificates"):
        (tmp_path / folder).mkdir()
    (tmp_path / "passwords" / "user").write_bytes(b"127.0.0.1:5432:*:user:" + SECRETS["password"] + b"\n")
    (tmp_path / "first-account").write_text(json.dumps({"username": "a", "password": SECRETS["account"].decode()}))
    (tmp_path / "master-key").write_bytes(MASTER_KEY)
    (tmp_path / "logs" / "services.log").write_text("nothing\n")
    store = EncryptedFiles(tmp_path / "secrets", MASTER_KEY)
    await store.open()
    await store.add("user/audit-key", SECRETS["root"], 0)
    await store.add("config/keys/storage/objects", SECRETS["kek"], 0)
    return tmp_path


@pytest.mark.parametrize("name", [*SECRETS, "master"])
async def test_each_form_of_each_secret_is_found(data: Path, name: str) -> None:
    value = SECRETS.get(name, MASTER_KEY)
    assert await find_leaks(data) == []
    wrapped = base64.b64encode(b"x" + value + b"yz")
    for form in (value, value.hex().encode(), base64.b64encode(value), base64.urlsafe_b64encode(value), wrapped):
        (data / "logs" / "services.log").write_bytes(b"before " + form + b" after\n")
        assert await find_leaks(data), form
