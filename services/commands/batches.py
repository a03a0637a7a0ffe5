"""Batches: a video for each row of a CSV file, or for each line of a file of JSON lines."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from moneyprinter import errors
from moneyprinter.client import Client
from moneyprinter.video.v1 import video_service_pb2 as pb
from services.commands.errors import WrongRequest
from services.commands.make import any_platform, check_request, upload_files, with_clips
from services.commands.request_files import (
    CODECS,
    Clip,
    check_writable,
    parse_clip,
    read_fields,
    read_script,
    set_fields,
)
from services.commands.results import save_files
from services.commands.sessions import signed_in
from services.commands.targets import Target
from services.commands.videos import file_name
from services.embedded.errors import PlatformError

# The columns of a CSV file, and the fields of a request that they are.
COLUMNS = {
    "title": "title",
    "script": "audio.script",
    "voice": "audio.voice",
    "music": "audio.background_music",
    "aspect": "settings.aspect_ratio",
    "resolution": "settings.resolution",
    "quality": "settings.quality",
    "captions": "captions.position",
    "transition": "settings.transition",
}

# The jobs of a batch that was run before, in its folder: a run that was interrupted goes on with them.
JOBS_FILE = ".batch.json"

MADE = "made"

# So many are uploaded and followed at once; the platform itself renders one or two.
AT_ONCE = 4


@dataclass(frozen=True)
class Row:
    """A video of a batch."""

    number: int
    """Of its line, from 1."""
    request: dict[str, Any]
    clips: Sequence[Clip]

    @property
    def title(self) -> str:
        return str(self.request.get("title", ""))

    @property
    def key(self) -> str:
        """What the row is known by when the batch is run again: a hash of all that it asks for."""
        clips = [[clip.source, clip.start_time, clip.end_time, dict(clip.more)] for clip in self.clips]
        return hashlib.sha256(json.dumps([self.request, clips], sort_keys=True).encode()).hexdigest()


def read_rows(file: Path) -> list[Row]:
    """The rows of a file. Raises WrongRequest, with the line, when one cannot be used."""
    # Spreadsheets begin a file with the mark of its byte order.
    text = read_script(file).removeprefix("\ufeff")
    lines = _of_csv(file, text) if file.suffix.lower() == ".csv" else _of_json(file, text)
    rows: list[Row] = []
    for number, fields in lines:
        try:
            request, clips = read_fields(fields, {}, ())
            request.setdefault("title", f"Video {len(rows) + 1}")
            check_request(request, clips)
            for clip in clips:
                if clip.file is not None and not clip.file.is_file():
                    raise WrongRequest(f"there is no file {clip.source}")
        except (WrongRequest, errors.InvalidArgument) as failure:
            raise WrongRequest(f"{file}, line {number}: {failure}") from None
        rows.append(Row(number, request, clips))
    if not rows:
        raise WrongRequest(f"{file} has no rows")
    return rows


def _of_csv(file: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(text.splitlines())
    if unknown := set(reader.fieldnames or ()) - {*COLUMNS, "clip"}:
        raise WrongRequest(f"{file}: there is no column {min(unknown)}; there are clip, {', '.join(COLUMNS)}")
    found = []
    for row in reader:
        if None in row:
            raise WrongRequest(f"{file}, line {reader.line_num}: there are more cells than columns")
        fields: dict[str, Any] = {}
        set_fields(fields, {path: (row.get(column) or "").strip() or None for column, path in COLUMNS.items()})
        clips = [parse_clip(each.strip()) for each in (row.get("clip") or "").split("|") if each.strip()]
        fields["clips"] = [
            {"url": clip.source, "start_time": clip.start_time, "end_time": clip.end_time} for clip in clips
        ]
        found.append((reader.line_num, fields))
    return found


def _of_json(file: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                fields = json.loads(line)
            except ValueError as failure:
                raise WrongRequest(f"{file}, line {number} is not JSON: {failure}") from None
            if not isinstance(fields, dict):
                raise WrongRequest(f"{file}, line {number} holds no JSON object")
            found.append((number, fields))
    return found


async def make_all(
    rows: Sequence[Row], folder: Path, target: Target, console: Console, *, only_video: bool = False
) -> None:
    """Make all videos of a batch, a few at once, and print a summary.

    Raises PlatformError when one has failed; the others are made all the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = _paths(rows, folder)
    for path in paths:
        check_writable(path)
    jobs = _read_jobs(folder / JOBS_FILE)
    turns = asyncio.Semaphore(AT_ONCE)
    outcomes = [MADE] * len(rows)
    columns = TextColumn("{task.description:40}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %")
    async with any_platform(target, console), signed_in(target) as client:
        with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
            whole = bars.add_task("All videos", total=len(rows))

            async def make_one(place: int) -> None:
                async with turns:
                    bar = bars.add_task(escape(paths[place].name[:40]), total=100)
                    row, path = rows[place], paths[place]
                    if row.key not in jobs or not path.exists():
                        outcomes[place] = await _make(
                            client, row, path, lambda done: bars.update(bar, completed=done), jobs, only_video
                        )
                    bars.remove_task(bar)
                    bars.advance(whole)

            async with asyncio.TaskGroup() as group:
                for place in range(len(rows)):
                    group.create_task(make_one(place))
    _print_summary(rows, paths, outcomes, console)
    failed = sum(outcome != MADE for outcome in outcomes)
    if failed:
        raise PlatformError(f"{failed} of {len(rows)} videos were not made")


def _read_jobs(file: Path) -> dict[str, str]:
    """The jobs of rows that an earlier run has created, by the rows' keys."""
    try:
        return {str(key): str(job) for key, job in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


async def _make(
    client: Client, row: Row, path: Path, show: Callable[[int], None], jobs: dict[str, str], only_video: bool
) -> str:
    """Make one video, or go on with the job of an earlier run; MADE, or why it was not made."""
    try:
        if row.key not in jobs or not await _is_underway(client, jobs[row.key]):
            message = with_clips(row.request, row.clips, None, await upload_files(client, row.clips))
            jobs[row.key] = (await client.videos.CreateVideo(message)).job_id
            (path.parent / JOBS_FILE).write_text(json.dumps(jobs, indent=1))
        job_id = jobs[row.key]
        status = pb.GetVideoStatusResponse()
        async for update in client.watch(job_id):
            status = update.status
            show(status.progress)
        if status.status != "completed":
            return f"{job_id}: {status.error.message or status.status}"
        await save_files(client, job_id, path, Console(quiet=True), only_video=only_video)
    except errors.Error as failure:
        return failure.message
    return MADE


async def _is_underway(client: Client, job_id: str) -> bool:
    """Whether a job is being worked on, or completed."""
    try:
        status = await client.videos.GetVideoStatus(pb.GetVideoStatusRequest(job_id=job_id))
    except errors.NotFound:
        return False
    return status.status in ("processing", "completed")


def _paths(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Where each video is written: by its title, and its line where titles are the same."""
    names = [file_name(row.title) for row in rows]
    found = []
    for row, name in zip(rows, names, strict=True):
        settings = row.request.get("settings")
        codec = settings.get("codec") if isinstance(settings, dict) else None
        suffix = next((suffix for suffix, codecs in CODECS.items() if codec in codecs), ".mp4")
        found.append(folder / f"{name}{f' {row.number}' if names.count(name) > 1 else ''}{suffix}")
    return found


def _print_summary(rows: Sequence[Row], paths: Sequence[Path], outcomes: Sequence[str], console: Console) -> None:
    table = Table(Column("line", justify="right"), "file", "outcome")
    for row, path, outcome in zip(rows, paths, outcomes, strict=True):
        table.add_row(str(row.number), escape(path.name), escape(outcome))
    console.print(table)
