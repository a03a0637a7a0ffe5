"""Batches: one video for each row of a CSV file, or for each line of a JSON Lines file."""

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
from services.commands.actions.make import build_request, check_request, ensure_platform, upload_files
from services.commands.actions.request_files import (
    CODECS,
    Clip,
    check_writable,
    parse_clip,
    read_fields,
    read_script,
    set_fields,
)
from services.commands.actions.saved_files import save_files
from services.commands.actions.sessions import open_client
from services.commands.actions.videos import to_file_name
from services.commands.errors import WrongRequest
from services.commands.targets import Target
from services.embedded.errors import PlatformError

# The columns of a CSV file, and the request field of each.
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

# The file in the output folder with the jobs of earlier runs, so that an interrupted batch continues.
JOBS_FILE = ".batch.json"

MADE = "made"

# How many rows are uploaded and followed at once; the platform itself renders one or two.
MAX_CONCURRENT = 4


@dataclass(frozen=True)
class Row:
    """The request for one video of a batch."""

    number: int
    """The number of its line, from 1."""
    request: dict[str, Any]
    clips: Sequence[Clip]

    @property
    def title(self) -> str:
        return str(self.request.get("title", ""))

    @property
    def key(self) -> str:
        """A hash of the whole request, which identifies the row when the batch runs again."""
        clips = [[clip.source, clip.start_time, clip.end_time, dict(clip.extra_fields)] for clip in self.clips]
        return hashlib.sha256(json.dumps([self.request, clips], sort_keys=True).encode()).hexdigest()


def read_rows(file: Path) -> list[Row]:
    """Read the rows of a file. Raises `WrongRequest`, with the line number, when a row is invalid or there are none."""
    # Spreadsheets write a byte order mark at the start of a file.
    text = read_script(file).removeprefix("\ufeff")
    lines = _parse_csv(file, text) if file.suffix.lower() == ".csv" else _parse_json_lines(file, text)
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


def _parse_csv(file: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(text.splitlines())
    if unknown := set(reader.fieldnames or ()) - {*COLUMNS, "clip"}:
        raise WrongRequest(f"{file}: unknown column {min(unknown)}; the columns are clip, {', '.join(COLUMNS)}")
    rows = []
    for row in reader:
        if None in row:
            raise WrongRequest(f"{file}, line {reader.line_num}: the row has more cells than there are columns")
        fields: dict[str, Any] = {}
        set_fields(fields, {path: (row.get(column) or "").strip() or None for column, path in COLUMNS.items()})
        clips = [parse_clip(each.strip()) for each in (row.get("clip") or "").split("|") if each.strip()]
        fields["clips"] = [
            {"url": clip.source, "start_time": clip.start_time, "end_time": clip.end_time} for clip in clips
        ]
        rows.append((reader.line_num, fields))
    return rows


def _parse_json_lines(file: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                fields = json.loads(line)
            except ValueError as failure:
                raise WrongRequest(f"{file}, line {number} is not JSON: {failure}") from None
            if not isinstance(fields, dict):
                raise WrongRequest(f"{file}, line {number} is not a JSON object")
            rows.append((number, fields))
    return rows


async def make_batch(
    rows: Sequence[Row], folder: Path, target: Target, console: Console, *, only_video: bool = False
) -> None:
    """Make all videos of a batch, `MAX_CONCURRENT` at once, and print a summary.

    Raises `PlatformError` when one failed, after all others are made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = _choose_paths(rows, folder)
    for path in paths:
        check_writable(path)
    jobs = _read_jobs(folder / JOBS_FILE)
    slots = asyncio.Semaphore(MAX_CONCURRENT)
    outcomes = [MADE] * len(rows)
    columns = TextColumn("{task.description:40}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %")
    async with ensure_platform(target, console), open_client(target) as client:
        with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
            whole = bars.add_task("All videos", total=len(rows))

            async def make_row(index: int) -> None:
                async with slots:
                    bar = bars.add_task(escape(paths[index].name[:40]), total=100)
                    row, path = rows[index], paths[index]
                    if row.key not in jobs or not path.exists():
                        outcomes[index] = await _make_video(
                            client, row, path, lambda done: bars.update(bar, completed=done), jobs, only_video
                        )
                    bars.remove_task(bar)
                    bars.advance(whole)

            async with asyncio.TaskGroup() as group:
                for index in range(len(rows)):
                    group.create_task(make_row(index))
    _print_summary(rows, paths, outcomes, console)
    failed = sum(outcome != MADE for outcome in outcomes)
    if failed:
        raise PlatformError(f"{failed} of {len(rows)} videos were not made")


def _read_jobs(file: Path) -> dict[str, str]:
    """Return the jobs that earlier runs created, by the keys of their rows."""
    try:
        return {str(key): str(job) for key, job in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


async def _make_video(
    client: Client, row: Row, path: Path, on_progress: Callable[[int], None], jobs: dict[str, str], only_video: bool
) -> str:
    """Make one video, or continue the job of an earlier run. Returns `MADE`, or the reason of the failure."""
    try:
        if row.key not in jobs or not await _is_reusable(client, jobs[row.key]):
            message = build_request(row.request, row.clips, None, await upload_files(client, row.clips))
            jobs[row.key] = (await client.videos.CreateVideo(message)).job_id
            (path.parent / JOBS_FILE).write_text(json.dumps(jobs, indent=1))
        job_id = jobs[row.key]
        status = pb.GetVideoStatusResponse()
        async for update in client.watch(job_id):
            status = update.status
            on_progress(status.progress)
        if status.status != "completed":
            return f"{job_id}: {status.error.message or status.status}"
        await save_files(client, job_id, path, Console(quiet=True), only_video=only_video)
    except errors.Error as failure:
        return failure.message
    return MADE


async def _is_reusable(client: Client, job_id: str) -> bool:
    """Report whether a job is running or completed."""
    try:
        status = await client.videos.GetVideoStatus(pb.GetVideoStatusRequest(job_id=job_id))
    except errors.NotFound:
        return False
    return status.status in ("processing", "completed")


def _choose_paths(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Choose the output file of each video: its title, with the line number where titles repeat."""
    names = [to_file_name(row.title) for row in rows]
    paths = []
    for row, name in zip(rows, names, strict=True):
        settings = row.request.get("settings")
        codec = settings.get("codec") if isinstance(settings, dict) else None
        suffix = next((suffix for suffix, codecs in CODECS.items() if codec in codecs), ".mp4")
        paths.append(folder / f"{name}{f' {row.number}' if names.count(name) > 1 else ''}{suffix}")
    return paths


def _print_summary(rows: Sequence[Row], paths: Sequence[Path], outcomes: Sequence[str], console: Console) -> None:
    table = Table(Column("line", justify="right"), "file", "outcome")
    for row, path, outcome in zip(rows, paths, outcomes, strict=True):
        table.add_row(str(row.number), escape(path.name), escape(outcome))
    console.print(table)
