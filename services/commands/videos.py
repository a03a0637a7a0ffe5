"""Videos from the command line: list and follow jobs, save what is ready, revise, upload."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from moneyprinter.video.v1 import video_service_pb2 as pb
from services.commands.errors import WrongRequest
from services.commands.make import STAGES, finish, progress_bars, show_on
from services.commands.request_files import check_writable
from services.commands.results import save_files
from services.commands.sessions import signed_in
from services.commands.targets import Target

PAGE_SIZE = 100

# A table of 80 columns has this much room for a title.
TITLE_WIDTH = 30


async def show_jobs(target: Target, limit: int, wide: bool, console: Console) -> None:
    """Print the newest videos, page by page up to `limit`."""
    request, more = pb.ListVideosRequest(page_size=min(limit, PAGE_SIZE)), True
    found: list[pb.Video] = []
    async with signed_in(target) as client:
        while more and len(found) < limit:
            page = await client.videos.ListVideos(request)
            found += page.videos
            request.page_token = page.next_page_token
            more = bool(page.next_page_token)
    table = Table(Column("job", no_wrap=True), Column("title", no_wrap=not wide), "status", "done")
    if wide:
        table.add_column("asked for", no_wrap=True)
    for video in found[:limit]:
        title = video.title if wide or len(video.title) <= TITLE_WIDTH else f"{video.title[: TITLE_WIDTH - 1]}…"
        row = [video.job_id, escape(title), video.status, f"{video.progress} %"]
        table.add_row(*row, *([video.create_time] if wide else []))
    console.print(table if found else "There is no video yet. Make one: moneyprinter make --help")
    if more or len(found) > limit:
        console.print(f"There are more; list them with: moneyprinter status --limit {limit * 5}")


async def show_job(target: Target, job_id: str, console: Console) -> None:
    """Print how far a job is."""
    async with signed_in(target) as client:
        video = (await client.videos.GetVideo(pb.GetVideoRequest(job_id=job_id))).video
    console.print(f"[bold]{escape(video.title)}[/] ({video.job_id}): {video.status}, {video.progress} %")
    for stage, label in STAGES.items():
        console.print(f"  {label:24} {getattr(video.stages, stage)}")
    if video.HasField("error"):
        console.print(f"  [red]{escape(video.error.message)}[/] ({video.error.reason})")
    elif video.status == "completed":
        console.print(
            f"  {video.duration:.1f} s, {video.file_size / 1e6:.1f} MB; save it with:"
            f" moneyprinter download {video.job_id}"
        )
    elif video.status == "processing":
        console.print(f"  expected at {video.estimated_completion}")


async def watch(target: Target, job_id: str, console: Console) -> None:
    """Show a job's stages until it has ended. Raises PlatformError when it was cancelled or has failed."""
    async with signed_in(target) as client:
        with progress_bars(console) as bars:
            await finish(client, job_id, bars, console)
    console.print(f"{escape(job_id)} is completed; save it with: moneyprinter download {escape(job_id)}")


async def download(
    target: Target, job_id: str, out: Path | None, name: str, only_video: bool, console: Console
) -> None:
    """Save a finished video with its other files, or the one file of it that is named."""
    if out is not None:
        check_writable(out)
    async with signed_in(target) as client:
        video = (await client.videos.GetVideo(pb.GetVideoRequest(job_id=job_id))).video
        names = [file.name for file in video.files]
        if name and names and name not in names:
            raise WrongRequest(f"{job_id} has no file {name}; it has {', '.join(names)}")
        main = next((each for each in names if Path(each).stem == "video"), "video.mp4")
        path = out or Path(name or file_name(video.title) + Path(main).suffix)
        if out is None:
            check_writable(path)
        if name:
            size = await client.download(job_id, path, name)
        else:
            size = (await save_files(client, job_id, path, console, only_video=only_video)).size_bytes
    console.print(f"[bold green]Saved[/] [bold]{escape(str(path))}[/]: {size / 1e6:.2f} MB")


def file_name(title: str) -> str:
    """A file name of a title, without what file systems and shells give a meaning."""
    words = re.sub(r"[^\w .,()-]+", "-", title).strip(" .-")
    while len(words.encode()) > 200:
        words = words[:-1]
    return words or "video"


async def revise(target: Target, job_id: str, changes: Mapping[str, Any], out: Path | None, console: Console) -> None:
    """Make a video again with some fields changed; with `out`, wait for it and save it."""
    request = pb.ReviseVideoRequest(job_id=job_id)
    json_format.ParseDict(dict(changes), request.changes)
    async with signed_in(target) as client:
        job = await client.videos.ReviseVideo(request)
        console.print(f"{escape(job_id)} is made again as [bold]{job.job_id}[/]")
        if out is None:
            return
        with progress_bars(console) as bars:
            await finish(client, job.job_id, bars, console)
        saved = await save_files(client, job.job_id, out, console)
    console.print(f"[bold green]Saved[/] [bold]{escape(str(out))}[/]: {saved.size_bytes / 1e6:.2f} MB")


async def upload(target: Target, files: Sequence[Path], console: Console) -> None:
    """Upload files, and print their ids."""
    if missing := [file for file in files if not file.is_file()]:
        raise WrongRequest(f"there is no file {missing[0]}")
    async with signed_in(target) as client:
        for file in files:
            with progress_bars(console) as bars:
                bar = bars.add_task(f"Uploading {escape(file.name)}", total=max(1, file.stat().st_size))
                asset_id = await client.upload(file, show_on(bars, bar))
            console.print(f"[bold]{asset_id}[/] {escape(str(file))}")
