"""The audit trail by the command line: what was done, also while the platform stopped, and that nobody changed it."""

from __future__ import annotations

from pathlib import Path

from psycopg import AsyncConnection

from services.embedded.postgres import Postgres
from tests.e2e.test_command import moneyprinter
from tests.up import up


async def behind_the_back(data: Path, statement: str) -> None:
    """Do in a platform's database what only its superuser can."""
    port = int((data / "postgres" / "postmaster.pid").read_text().splitlines()[3])
    conninfo = Postgres(port, data / "passwords").conninfo("postgres")
    async with await AsyncConnection.connect(conninfo) as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(statement.encode())


async def test_the_trail_of_a_platform_is_read_and_verified(tmp_path: Path) -> None:
    data = tmp_path / "data"
    audit = ("audit", "verify", "--data", data)
    async with up(data, "--processes") as running:
        code, told = await moneyprinter(*audit)
        assert code == 0, told
        assert "is intact" in told
        # The last thing before the end: it is told of while its service stops.
        code, told = await moneyprinter("status", "--data", data)
        assert code == 0, told
        assert await running.stop() == 0
    async with up(data):
        code, told = await moneyprinter("audit", "list", "--data", data, "--action", "job.", "--limit", "1")
        assert (code, " job.list by user_" in told) == (0, True), told
        code, told = await moneyprinter("audit", "list", "--data", data, "--action", "secret.read")
        assert "storage/master-key by spiffe://cluster.local/ns/moneyprinter/sa/storage from 127.0.0.1" in told
        code, told = await moneyprinter(*audit)
        assert (code, "It continues the log of" in told) == (0, True), told
        known = told.splitlines()[0].rpartition(" ")[2]

        count = known.partition(":")[0]
        await behind_the_back(data, f'DELETE FROM "user".audit_records WHERE number = {count}')  # noqa: S608
        code, told = await moneyprinter(*audit, "--known", known)
        assert (code, "broken" in told) == (1, True), told
        await behind_the_back(data, """UPDATE "user".audit_records SET actor = 'user_x' WHERE number = 2""")
        code, told = await moneyprinter(*audit)
        assert (code, "record 2 is not the one that was written there" in told) == (1, True), told
        code, told = await moneyprinter(*audit, "--known", "soon")
        assert (code, "COUNT:HASH" in told) == (2, True), told
