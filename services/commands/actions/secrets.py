"""Secrets from the command line: their list, values, versions, replacement and rotation."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from moneyprinter.config.v1 import secret_administration_service_pb2 as pb
from moneyprinter.user.v1 import administration_service_pb2 as administration
from moneyprinter.user.v1.audit_service_pb2 import ListAuditRecordsRequest
from services.commands.actions.audit import show_audit
from services.commands.actions.sessions import open_client
from services.commands.errors import WrongRequest
from services.commands.targets import Target

SIGNING_KEYS = "user/signing-key"
MAX_BYTES = 64 * 1024


async def list_secrets(target: Target, console: Console, *, only_due: bool) -> None:
    """Print one line for each secret and key."""
    async with open_client(target) as client:
        found = (await client.secrets.ListSecrets(pb.ListSecretsRequest())).secrets
    shown = [each for each in found if each.is_due or not only_due]
    for each in shown:
        age = (datetime.now(UTC) - each.create_time.ToDatetime(UTC)).days
        schedule = f"every {each.rotation_days} days by {each.rotated_by}" if each.rotation_days else "no schedule"
        due = " [bold red]due[/]" if each.is_due else ""
        console.print(
            f"[bold]{escape(each.name):22}[/] version {each.version:<4} {age:4} days old, {schedule}{due}"
            f"  [dim]{escape(each.kind)}[/]"
        )
    if not shown:
        console.print("No secret is due for rotation." if only_due else "There are no secrets yet.")


async def read_secret(target: Target, name: str) -> str:
    """Return the value of a secret."""
    async with open_client(target) as client:
        return (await client.secrets.ReadSecret(pb.ReadSecretRequest(name=name))).value


async def replace_secret(target: Target, name: str, file: Path, console: Console) -> None:
    """Write the content of a file, or of standard input, as the next version of a secret.

    Raises `WrongRequest` when it is too large or no text.
    """
    data = sys.stdin.buffer.read(MAX_BYTES + 1) if str(file) == "-" else file.read_bytes()
    if len(data) > MAX_BYTES:
        raise WrongRequest(f"{file} has more than {MAX_BYTES} bytes, the most of a secret")
    try:
        value = data.decode()
    except UnicodeDecodeError:
        raise WrongRequest(f"{file} is not text in UTF-8") from None
    async with open_client(target) as client:
        found = (await client.secrets.ListSecrets(pb.ListSecretsRequest())).secrets
        newest = next((each.version for each in found if each.name == name), 0)
        request = pb.ReplaceSecretRequest(name=name, value=value, replaces_version=newest)
        version = (await client.secrets.ReplaceSecret(request)).version
    console.print(f"{escape(name)} has version {version}")


async def rotate_secret(target: Target, name: str, console: Console) -> None:
    """Rotate a key-encryption key, or the keys that sign tokens."""
    async with open_client(target) as client:
        if name == SIGNING_KEYS:
            made = await client.administration.RotateSigningKey(administration.RotateSigningKeyRequest())
            console.print(f"the key {escape(made.kid)} signs from {made.sign_time.ToDatetime().isoformat()}Z on")
            return
        version = (await client.secrets.RotateSecret(pb.RotateSecretRequest(name=name))).version
    console.print(f"{escape(name)} has version {version}; its service wraps its keys anew within a minute")


async def show_history(target: Target, name: str, limit: int, console: Console) -> None:
    """Print the versions of a secret or a key, and the latest accesses in the audit log."""
    async with open_client(target) as client:
        found = await client.secrets.ListSecretVersions(pb.ListSecretVersionsRequest(name=name))
    for each in found.versions:
        console.print(f"version {each.version} of {each.create_time.ToDatetime().isoformat(timespec='seconds')}Z")
    console.print("Accesses, the newest first:")
    await show_audit(target, ListAuditRecordsRequest(target=name), limit, console)
