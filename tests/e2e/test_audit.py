"""The audit log by the command line: it also holds records of the platform's stop, and shows changes."""

from __future__ import annotations

from pathlib import Path

from psycopg import AsyncConnection

from services.embedded.postgres import Postgres
from tests.e2e.test_command import moneyprinter
from tests.up import up


async def execute_as_superuser(data: Path, statement: str) -> None:
    """Execute SQL in a platform's database as its superuser."""
    port = int((data / "postgres" / "postmaster.pid").read_text().splitlines()[3])
    conninfo = Postgres(port, data / "passwords").conninfo("postgres")
    async with await AsyncConnection.connect(conninfo) as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(statement.encode())


async def use_secrets(data: Path, file: Path) -> None:
    """Replace, read and rotate secrets, and see each access in their history."""
    value = '{"openai": {"keys": ["sk-that-no-log-holds"]}}'
    file.write_text(value)
    for arguments, words in (
        (("put", "content/providers", file), "content/providers has version 1"),
        (("get", "content/providers"), value),
        (("rotate", "storage/objects"), "storage/objects has version 2"),
        (("rotate", "user/signing-key"), "signs from"),
        (("list",), "content/providers      version 1"),
        (("history", "content/providers"), "secret.reveal content/providers"),
    ):
        code, output = await moneyprinter("secrets", *arguments, "--data", data)
        assert (code, words in output) == (0, True), output
    for arguments, words in (
        (("get", "user/signing-key"), "user/signing-key is made by the platform for itself"),
        (("get", "storage/none"), "the platform has no secret storage/none"),
        (("rotate", "content/providers"), "content/providers is not rotated here: make a new key at the provider"),
    ):
        code, output = await moneyprinter("secrets", *arguments, "--data", data)
        assert (code, words in output) == (1, True), output
    assert not [log for log in (data / "logs").glob("*") if b"sk-that-no-log-holds" in log.read_bytes()]


async def test_the_audit_log_is_listed_and_verified(tmp_path: Path) -> None:
    data = tmp_path / "data"
    audit = ("audit", "verify", "--data", data)
    async with up(data, "--processes") as running:
        code, output = await moneyprinter(*audit)
        assert code == 0, output
        assert "is intact" in output
        await use_secrets(data, tmp_path / "providers.json")
        # The last thing before the end: it is recorded while its service stops.
        code, output = await moneyprinter("status", "--data", data)
        assert code == 0, output
        assert await running.stop() == 0
    async with up(data):
        code, output = await moneyprinter("audit", "list", "--data", data, "--action", "job.", "--wide")
        assert (code, " job.list by user_" in output) == (0, True), output
        code, output = await moneyprinter("audit", "list", "--data", data, "--action", "secret.read", "--wide")
        assert "storage/objects-keys by spiffe://cluster.local/ns/moneyprinter/sa/storage from 127.0.0.1" in output
        code, output = await moneyprinter(*audit)
        assert (code, "It continues the log of" in output) == (0, True), output
        known = output.splitlines()[0].rpartition(" ")[2]

        count = known.partition(":")[0]
        await execute_as_superuser(data, f'DELETE FROM "user".audit_records WHERE number = {count}')  # noqa: S608
        code, output = await moneyprinter(*audit, "--known", known)
        assert (code, "broken" in output) == (1, True), output
        await execute_as_superuser(data, """UPDATE "user".audit_records SET actor = 'user_x' WHERE number = 2""")
        code, output = await moneyprinter(*audit)
        assert (code, "record 2 is not the one that was written there" in output) == (1, True), output
        code, output = await moneyprinter(*audit, "--known", "soon")
        assert (code, "COUNT:HASH" in output) == (2, True), output
