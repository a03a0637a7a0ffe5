"""Migrations: those that any commit had are there, unchanged, and databases of all earlier schemas open."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from services.orchestrator.jobs.footage import PreparedCuts
from services.orchestrator.jobs.model import ClipStyle, JobProgress, RenderedVideo, Source, SourceClip
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
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = current_schema()::regnamespace",
    "migrations": "SELECT name, sha256 FROM migrations",
}
# The places of the names in the rows of a shape.
_NAMES = {"columns": (0, 1), "indexes": (1,), "constraints": (1,)}
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


@pytest.mark.parametrize(("service", "missing"), [("orchestrator", {7, 8, 9, 16, 17}), ("user", set())])
def test_no_number_is_left_out_or_used_twice(service: str, missing: set[int]) -> None:
    """The numbers that are missing were never used; docs/decisions/0012-migrations-are-only-added.md has the reason."""
    numbers = sorted(int(name.partition("_")[0]) for name in db.migrations(service))
    assert numbers == [number for number in range(1, numbers[-1] + 1) if number not in missing]


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


# Words of a client that are equal to a former name, such as those of pronunciations, stay.
_FORMER_CLIP = {"url": "https://example.com/a.mp4", "asset": None, "start_seconds": 1.0, "end_seconds": 2.0}
_FORMER_SOURCE = {"object": {"key": "a", "sha256": "0" * 64, "size_bytes": 1}, "picture": {"still": True, "width": 4}}
_FORMER_REQUEST = {
    **json.loads(_REQUEST),
    "clips": [{**_FORMER_CLIP, "look": {"fit": "blur"}}, _FORMER_CLIP],
    "speech_options": {"pronunciations": {"look": "luck", "picture": "pitcher"}},
}
_FORMER_STEPS = {
    "validate 0": {"source": _FORMER_SOURCE, "look": {"fit": "blur", "title": "One"}, "has_audio": True},
    "validate 1": {"source": None, "colour": "#000000"},
    "validate overlay 0": _FORMER_SOURCE,
    "validate cut 0.0": {"cuts": [{"id": "background:1"}], "clips": [{"source": None, "look": {"motion": "zoom_in"}}]},
    "render 0": {"video": _FORMER_SOURCE["object"], "frame_count": 30, "reused": True},
}


async def make_former(conninfo: str) -> None:
    """Make a database with a job whose records have the names that 0020_names.sql changes."""
    files = {name: text for name, text in db.migrations("orchestrator").items() if name < "0020"}
    await make_old(conninfo, "orchestrator", files)
    tally = {"fractions": {"validation": 1.0}, "segments": 8, "rendered": 2, "reused": 1}
    async with await AsyncConnection.connect(conninfo) as connection:
        await connection.execute("SET search_path TO orchestrator")
        await connection.execute(
            "UPDATE jobs SET request = %s, wish = %s, tally = %s",
            (Jsonb(_FORMER_REQUEST), Jsonb({"title": "As sent"}), Jsonb(tally)),
        )
        for name, result in _FORMER_STEPS.items():
            insert = "INSERT INTO steps (job_id, name, result) VALUES ('vid_old', %s, %s)"
            await connection.execute(insert, (name, Jsonb(result)))


async def test_records_with_the_names_of_former_versions_are_read(postgres: Databases) -> None:
    conninfo = await postgres.fresh("orchestrator")
    await make_former(conninfo)
    async with db.open_pool("orchestrator", conninfo) as pool:
        store = PostgresStore(pool, lambda: None)
        job = await store.find("vid_old", "user_1")
        assert job is not None
        styled, plain = job.request.clips
        assert (styled.style.fit, styled.start_seconds, plain.style) == ("blur", 1.0, ClipStyle())
        assert job.request.speech_options.pronunciations == {"look": "luck", "picture": "pitcher"}
        assert job.progress_details == JobProgress({"validation": 1.0}, 8, 2, 1)
        assert job.original_request == {"title": "As sent"}
        clip = await store.step(job, "validate 0", SourceClip)
        assert clip is not None
        assert clip.source is not None
        assert (clip.style.title, clip.has_audio, clip.source.properties["width"]) == ("One", True, 4)
        assert await store.step(job, "validate 1", SourceClip) == SourceClip(None, colour="#000000")
        image = await store.step(job, "validate overlay 0", Source)
        assert image is not None
        assert image.still
        cuts = await store.step(job, "validate cut 0.0", PreparedCuts)
        assert cuts is not None
        assert [each.style.motion for each in cuts.clips] == ["zoom_in"]
        segment = await store.step(job, "render 0", RenderedVideo)
        assert segment is not None
        assert segment.is_reused


@pytest.mark.parametrize("service", SERVICES)
async def test_stored_names_are_those_of_the_field(postgres: Databases, service: str) -> None:
    former = (
        "wish tally tries asked told fact look picture passes begun unended unplaced promised proof sealed seal family"
    )
    conninfo = await postgres.fresh(service)
    async with db.open_pool(service, conninfo):
        found = await shape(conninfo, service)
    names = {str(row[place]) for kind, places in _NAMES.items() for row in found[kind] for place in places}
    assert not {name for name in names if set(name.split("_")) & set(former.split())}


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
