"""Leaks: every secret that a platform made, in the forms in which a log could hold it, and the logs that hold one."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from moneyprinter.errors import DataLoss
from services.config.catalogue import KINDS
from services.config.encrypted_files import EncryptedFiles

# Shorter texts are no secrets, or would be found by chance.
MIN_LENGTH = 16


async def find_leaks(data: Path) -> list[str]:
    """Return the logs of a platform's data folder that hold one of its secrets, each with the secret's name."""
    logs = {file.name: file.read_bytes() for file in (data / "logs").glob("*") if file.is_file()}
    return [
        f"{log} holds {name}"
        async for name, value in _list_secrets(data)
        for form in _forms(value)
        for log, content in logs.items()
        if form in content
    ]


async def _list_secrets(data: Path) -> AsyncIterator[tuple[str, bytes]]:
    for file in (data / "passwords").glob("*"):
        yield f"the password of {file.name}", file.read_text().strip().rpartition(":")[2].encode()
    if (account := data / "first-account").is_file():
        yield "the password of the first account", json.loads(account.read_text())["password"].encode()
    for file in (data / "certificates").rglob("*.key"):
        yield file.name, b"".join(file.read_bytes().splitlines()[1:-1])
    if (master_key := data / "master-key").is_file() and (data / "secrets").is_dir():
        yield "the master key", master_key.read_bytes()
        store = EncryptedFiles(data / "secrets", master_key.read_bytes())
        names = [kind.name if kind.store == "secret" else f"config/keys/{kind.name}" for kind in KINDS]
        for name in names:
            try:
                if secret := await store.find_newest(name):
                    yield name, secret.value
            except DataLoss:
                # The test has damaged it.
                continue


def _forms(value: bytes) -> Iterator[bytes]:
    """Yield a value as it is, in hexadecimal, and in Base64 at its three offsets; and the lines of a text."""
    texts = [value, *(line for line in value.splitlines() if b"BEGIN" not in line and b"END" not in line)]
    for text in texts:
        if len(text) >= MIN_LENGTH:
            yield text
    yield value.hex().encode()
    for offset in range(3):
        encoded = base64.b64encode(value[offset : offset + (len(value) - offset) // 3 * 3])
        if len(encoded) >= MIN_LENGTH:
            yield encoded
            yield encoded.replace(b"+", b"-").replace(b"/", b"_")
