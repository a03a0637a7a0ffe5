"""Videos from the command line: list, follow, save, revise, cancel, retry and delete them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from moneyprinter.video.v1 import video_service_pb2 as pb
from services.commands.actions.make import STAGES, progress_bars, wait_until_finished
from services.commands.actions.request_files import check_writable
from services.commands.actions.reviews import show_scenes
from services.commands.actions.saved_files import save_files
from services.commands.actions.sessions import open_client
from services.commands.errors import WrongRequest
from services.commands.targets import Target

PAGE_SIZE = 100

# The room for a title in a table of 80 columns.
TITLE_WIDTH = 30


async def show_jobs(target: Target, limit: int, wide: bool, console: Console, group: str = "") -> None:
    """Print the newest videos, up to `limit`; with a group, only those of its languages."""
    request, more = pb.ListVideosRequest(page_size=min(limit, PAGE_SIZE), group_id=group), True
    videos: list[pb.Video] = []
    async with open_client(target) as client:
        while more and len(videos) < limit:
            page = await client.videos.ListVideos(request)
            videos += page.videos
            request.page_token = page.next_page_token
            more = bool(page.next_page_token)
    table = Table(Column("job", no_wrap=True), Column("title", no_wrap=not wide), "status", "done")
    if wide:
        table.add_column("created at", no_wrap=True)
    for video in videos[:limit]:
        title = video.title if wide or len(video.title) <= TITLE_WIDTH else f"{video.title[: TITLE_WIDTH - 1]}…"
        state = "in review" if video.HasField("review") else video.status
        row = [video.job_id, escape(title), state, f"{video.progress} %"]
        table.add_row(*row, *([video.create_time] if wide else []))
    console.print(table if videos else "There is no video yet. Make one: moneyprinter make --help")
    if more or len(videos) > limit:
        console.print(f"There are more videos; list them with: moneyprinter status --limit {limit * 5}")


async def show_job(target: Target, job_id: str, console: Console) -> None:
    """Print the progress of a job."""
    async with open_client(target) as client:
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
    elif video.HasField("review"):
        console.print(
            f"  waits for your review until {video.review.expire_time}; approve it with:"
            f" moneyprinter approve {video.job_id}"
        )
        show_scenes(video.scenes, console)
    elif video.status == "processing":
        console.print(f"  expected at {video.estimated_completion}")


async def watch_video(target: Target, job_id: str, console: Console) -> None:
    """Show the stages of a job until it has ended. Raises `PlatformError` when it was cancelled or failed."""
    async with open_client(target) as client:
        with progress_bars(console) as bars:
            await wait_until_finished(client, job_id, bars, console)
    console.print(f"{escape(job_id)} is completed; save it with: moneyprinter download {escape(job_id)}")


async def download_video(
    target: Target, job_id: str, out: Path | None, name: str, only_video: bool, console: Console
) -> None:
    """Save a finished video with its other files, or only its file `name`.

    Raises `WrongRequest` when the video has no such file, or `out` cannot be written.
    """
    if out is not None:
        check_writable(out)
    async with open_client(target) as client:
        video = (await client.videos.GetVideo(pb.GetVideoRequest(job_id=job_id))).video
        names = [file.name for file in video.files]
        if name and names and name not in names:
            raise WrongRequest(f"{job_id} has no file {name}; it has {', '.join(names)}")
        main = next((each for each in names if Path(each).stem == "video"), "video.mp4")
        path = out or Path(name or to_file_name(video.title) + Path(main).suffix)
        if out is None:
            check_writable(path)
        if name:
            size = await client.download(job_id, path, name)
        else:
            size = (await save_files(client, job_id, path, console, only_video=only_video)).size_bytes
    console.print(f"[bold green]Saved[/] [bold]{escape(str(path))}[/]: {size / 1e6:.2f} MB")


def to_file_name(title: str) -> str:
    """Turn a title into a file name without characters that are special to file systems or shells."""
    words = re.sub(r"[^\w .,()-]+", "-", title).strip(" .-")
    while len(words.encode()) > 200:
        words = words[:-1]
    return words or "video"


async def revise_video(
    target: Target, job_id: str, changes: Mapping[str, Any], out: Path | None, console: Console
) -> None:
    """Make a video again with changed fields. With `out`, wait for the new video and save it."""
    request = pb.ReviseVideoRequest(job_id=job_id)
    json_format.ParseDict(dict(changes), request.changes)
    async with open_client(target) as client:
        job = await client.videos.ReviseVideo(request)
        console.print(f"{escape(job_id)} is revised as the new job [bold]{job.job_id}[/]")
        if out is None:
            return
        with progress_bars(console) as bars:
            await wait_until_finished(client, job.job_id, bars, console)
        saved = await save_files(client, job.job_id, out, console)
    console.print(f"[bold green]Saved[/] [bold]{escape(str(out))}[/]: {saved.size_bytes / 1e6:.2f} MB")


async def cancel_video(target: Target, job_id: str, console: Console) -> None:
    """Cancel an unfinished job."""
    async with open_client(target) as client:
        status = (await client.videos.CancelVideo(pb.CancelVideoRequest(job_id=job_id))).status
    console.print(f"{escape(job_id)} is cancelled at {status.progress} %")


async def retry_video(target: Target, job_id: str, console: Console) -> None:
    """Continue a failed or cancelled job."""
    async with open_client(target) as client:
        job = await client.videos.RetryVideo(pb.RetryVideoRequest(job_id=job_id))
    console.print(f"{escape(job_id)} continues; it is expected at {job.estimated_completion}")


async def delete_video(target: Target, job_id: str, console: Console) -> None:
    """Delete a video and its files."""
    async with open_client(target) as client:
        await client.videos.DeleteVideo(pb.DeleteVideoRequest(job_id=job_id))
    console.print(f"{escape(job_id)} is deleted")
