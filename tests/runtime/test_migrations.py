"""Migrations: those that any commit had are there, unchanged, and databases of all earlier schemas open."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection

from services.orchestrator.postgres.store import PostgresStore
from services.runtime import db
from services.runtime.config import ConfigError
from tests.databases import Databases

ROOT = Path(__file__).parent.parent.parent
LIST = Path(__file__).parent / "migrations.sha256"
SERVICES = ("orchestrator", "user")

# Of both schemas, whatever the order in which columns were added.
_SHAPE = {
    "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
    " WHERE table_schema = current_schema()",
    "indexes": "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = current_schema()",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = current_schema()::regnamespace",
    "migrations": "SELECT name, sha256 FROM migrations",
}
_JOB = (
    "INSERT INTO jobs (id, user_id, title, request, status, stages, heartbeat_time, create_time, estimated_completion)"
    " VALUES ('vid_old', 'user_1', 'Old', %s, 'failed', '{}', now(), now(), now())"
)
_REQUEST = (
    '{"title": "Old", "clips": [], "script": null, "voice": "en-US", "background_music": "", "width": 320,'
    ' "height": 180, "frames_per_second": 30, "quality": "draft"}'
)


def listed() -> dict[str, dict[str, str]]:
    """The SHA-256 of every migration that the list names, by service and file."""
    found: dict[str, dict[str, str]] = {service: {} for service in SERVICES}
    for line in LIST.read_text().splitlines():
        digest, path = line.split()
        service, _, name = path.partition("/")
        found[service][name] = digest
    return found


def git(*arguments: str) -> bytes:
    """What git prints in this repository; the test is skipped where there is no history."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: it has no history")
    return subprocess.run(("git", "-C", ROOT, *arguments), check=True, capture_output=True).stdout


def committed() -> Iterator[tuple[str, str, str, str]]:
    """Every form of every migration in the history: commit, service, file name and blob, the oldest first."""
    text = git("log", "--reverse", "--raw", "--no-abbrev", "--no-renames", "--format=commit %H", "--", "*/migrations/*")
    commit = ""
    for line in text.decode().splitlines():
        if line.startswith("commit "):
            commit = line.removeprefix("commit ")
        elif line.startswith(":"):
            change, _, path = line.partition("\t")
            _, _, _, blob, kind = change.split()
            *_, service, _, name = path.split("/")
            if name.endswith(".sql") and kind in ("A", "M"):
                yield commit, service, name, blob


def test_migrations_are_those_of_the_list() -> None:
    for service in SERVICES:
        ours = {name: sha256(text).hexdigest() for name, text in db.migrations(service).items()}
        assert ours == listed()[service], (
            f"a migration was changed, renamed or deleted: databases have run it, so put it back as it was, and undo it"
            f" in a new file. A new file is listed in {LIST.name}, as sha256sum prints it"
        )


def test_no_migration_in_the_git_history_was_deleted_or_changed() -> None:
    found = list(committed())
    if git("rev-parse", "--is-shallow-repository").strip() == b"false":
        assert found, "the history has no migrations: the paths of this test are wrong"
    for commit, service, name, blob in found:
        now = db.migrations(service).get(name)
        assert now is not None, f"{service}/{name} of commit {commit} is gone: put it back, and undo it in a new file"
        assert now == git("cat-file", "blob", blob), f"{service}/{name} is not what it was in commit {commit}"


async def make_old(conninfo: str, service: str, files: Mapping[str, bytes]) -> None:
    """Make a database as a version with `files` left it, with a job in it."""
    async with await AsyncConnection.connect(conninfo) as connection:
        await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{service}"')
        await connection.execute(f'SET search_path TO "{service}"')
        await connection.execute(
            "CREATE TABLE migrations (name text PRIMARY KEY, sha256 text NOT NULL,"
            " run_at timestamptz NOT NULL DEFAULT now())"
        )
        for name, text in files.items():
            await connection.execute(text)
            await connection.execute(
                "INSERT INTO migrations (name, sha256) VALUES (%s, %s)", (name, sha256(text).hexdigest())
            )
        if service == "orchestrator":
            await connection.execute(_JOB, (_REQUEST,))


async def shape(conninfo: str, service: str) -> dict[str, list[tuple[object, ...]]]:
    """The tables, columns, indexes and constraints of a schema."""
    async with await AsyncConnection.connect(conninfo) as connection:
        await connection.execute(f'SET search_path TO "{service}"')
        return {
            name: sorted(await (await connection.execute(query)).fetchall(), key=repr) for name, query in _SHAPE.items()
        }


async def check_opens(postgres: Databases, service: str, files: Mapping[str, bytes]) -> None:
    """Open a database of an earlier version, and compare its schema with that of a new one."""
    old, new = await postgres.fresh(service), await postgres.fresh(service)
    await make_old(old, service, files)
    async with db.open_pool(service, old) as pool, db.open_pool(service, new):
        assert await shape(old, service) == await shape(new, service)
        if service == "orchestrator":
            job = await PostgresStore(pool, lambda: None).find("vid_old", "user_1")
            assert job is not None
            assert job.request.title == "Old"


@pytest.mark.parametrize("service", SERVICES)
async def test_databases_of_all_earlier_schemas_open(postgres: Databases, service: str) -> None:
    files = list(db.migrations(service).items())
    for count in range(1, len(files) + 1):
        await check_opens(postgres, service, dict(files[:count]))


async def test_databases_of_all_earlier_commits_open(postgres: Databases) -> None:
    for commit, _ in groupby(committed(), lambda found: found[0]):
        for service in SERVICES:
            folder = f"services/{service}/migrations/"
            names = git("ls-tree", "--name-only", commit, folder).decode().split()
            files = {Path(name).name: git("cat-file", "blob", f"{commit}:{name}") for name in sorted(names)}
            await check_opens(postgres, service, files)


@pytest.mark.parametrize(
    ("name", "sha", "words"),
    [
        ("9999_later.sql", "0", ("9999_later.sql", "is newer than the last one of this version")),
        ("0007_side.sql", "0", ("does not have (0007_side.sql)", "another build")),
        ("0001_jobs.sql", "0", ("other contents of 0001_jobs.sql", "another build")),
    ],
)
async def test_a_database_of_another_build_is_refused_with_the_true_cause(
    postgres: Databases, name: str, sha: str, words: tuple[str, ...]
) -> None:
    conninfo = await postgres.fresh("orchestrator")
    async with db.open_pool("orchestrator", conninfo) as pool, pool.connection() as connection:
        await connection.execute(
            "INSERT INTO migrations (name, sha256) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET sha256 = '0'",
            (name, sha),
        )
    with pytest.raises(ConfigError) as refused:
        async with db.open_pool("orchestrator", conninfo):
            pass
    for part in words:
        assert part in str(refused.value)


async def test_a_failed_migration_is_rolled_back_and_named(postgres: Databases) -> None:
    conninfo = await postgres.fresh("orchestrator")
    async with await AsyncConnection.connect(conninfo) as connection:
        await connection.execute("CREATE SCHEMA IF NOT EXISTS orchestrator")
        await connection.execute("CREATE TABLE orchestrator.steps (nothing text)")
    with pytest.raises(ConfigError, match=r"0001_jobs\.sql failed"):
        async with db.open_pool("orchestrator", conninfo):
            pass
    async with await AsyncConnection.connect(conninfo) as connection:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await connection.execute("SELECT 1 FROM orchestrator.jobs")
