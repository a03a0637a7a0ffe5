"""Make: one video from the command line. Finds or starts a platform, uploads, follows the job, downloads."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.protobuf import json_format
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from moneyprinter.client import Client
from moneyprinter.video.v1 import video_service_pb2 as pb
from services.embedded import folder
from services.embedded.errors import PlatformError

STAGES = {
    "validation": "Checking the clips",
    "audio_generation": "Speaking and mixing",
    "video_processing": "Rendering the picture",
    "concatenation": "Joining the pieces",
    "rendering": "Finishing",
}

_PART = re.compile(r"(?P<source>.+)@(?P<start>[0-9:.]*)-(?P<end>[0-9:.]*)")
_TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d{1,3})?)")


class WrongRequest(Exception):
    """What was asked for on the command line cannot be used; the message says why, in one line."""


@dataclass(frozen=True)
class Clip:
    """A clip as it was named: a file or an address, and the part of it as `HH:MM:SS.mmm`."""

    source: str
    start_time: str = ""
    end_time: str = ""
    fit: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else a request file says of it: `motion`, `speed` and so on."""

    @property
    def file(self) -> Path | None:
        """The file; None when it is an address."""
        return None if "://" in self.source else Path(self.source).expanduser()


def parse_clip(text: str) -> Clip:
    """A clip of `FILE_OR_URL[@START-END]`; times are seconds, `MM:SS` or `HH:MM:SS`, and may be left out."""
    match = _PART.fullmatch(text)
    if match is None or (not match["start"] and not match["end"]):
        return Clip(text)
    return Clip(match["source"], _time(text, match["start"]), _time(text, match["end"]))


def _time(clip: str, text: str) -> str:
    if not text:
        return ""
    match = _TIME.fullmatch(text)
    if match is None:
        raise WrongRequest(f"--clip {clip}: {text} is no time; write seconds (12.5), MM:SS or HH:MM:SS")
    total = int(match[1] or 0) * 3600 + int(match[2] or 0) * 60 + float(match[3])
    minutes, seconds = divmod(round(total * 1000), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds / 1000:06.3f}"


def read_request(
    file: Path | None, settings: dict[str, Any], clips: Sequence[str]
) -> tuple[dict[str, Any], list[Clip]]:
    """The request as JSON without its clips, and the clips.

    What a request file says is overruled by what is given beside it: `settings` has `title`, `audio.script`,
    `settings.quality` and so on, with None for what is not given.
    """
    request: dict[str, Any] = {}
    if file is not None:
        try:
            request = json.loads(file.read_text())
        except OSError as failure:
            raise WrongRequest(f"cannot read {file}: {failure.strerror}") from None
        except ValueError as failure:
            raise WrongRequest(f"{file} is not JSON: {failure}") from None
        if not isinstance(request, dict):
            raise WrongRequest(f"{file} holds no JSON object")
    named = request.pop("clips", [])
    if not isinstance(named, list) or not all(isinstance(clip, dict) and "url" in clip for clip in named):
        raise WrongRequest(f'{file}: clips must be a list of objects with a "url" (an address or a file)')
    found = [_clip_of(clip) for clip in named]
    for path, value in settings.items():
        if value is not None:
            group, _, name = path.rpartition(".")
            (request.setdefault(group, {}) if group else request)[name] = value
    return request, [parse_clip(clip) for clip in clips] or found


def _clip_of(fields: dict[str, Any]) -> Clip:
    known = ("url", "start_time", "end_time", "fit")
    more = {name: value for name, value in fields.items() if name not in known}
    return Clip(fields["url"], fields.get("start_time", ""), fields.get("end_time", ""), fields.get("fit", ""), more)


def read_script(file: Path) -> str:
    """The text of a script file."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as failure:
        raise WrongRequest(f"cannot read {file}: {failure.strerror}") from None
    except UnicodeDecodeError:
        raise WrongRequest(f"{file} is not text in UTF-8") from None


def check_files(clips: Sequence[Clip], logo: Path | None, out: Path) -> None:
    """Raise WrongRequest when there is no clip, a file is not there, or `out` cannot be written."""
    if not out.absolute().parent.is_dir():
        raise WrongRequest(f"there is no folder {out.absolute().parent}")
    if not clips:
        raise WrongRequest("there is nothing to show: name at least one --clip FILE_OR_URL")
    for clip in clips:
        if clip.file is not None and not clip.file.is_file():
            raise WrongRequest(f"there is no file {clip.source}")
    if logo is not None and not logo.is_file():
        raise WrongRequest(f"there is no file {logo}")


@asynccontextmanager
async def signed_in(data: Path) -> AsyncIterator[Client]:
    """A client of the platform that runs on a data folder, signed in as its first account."""
    running = folder.find(data)
    if running is None:
        raise PlatformError(f"no platform runs on {data}; start one with: moneyprinter up")
    where = urlsplit(running.url)
    trusted = folder.trusted(data).read_bytes() if where.scheme == "https" else None
    credentials = grpc.ssl_channel_credentials(trusted) if trusted else None
    async with Client(where.netloc, credentials=credentials) as client:
        account = json.loads((data / "first-account").read_text())
        await client.sign_in(account["username"], account["password"])
        yield client


@asynccontextmanager
async def any_platform(data: Path, console: Console) -> AsyncIterator[None]:
    """Have a platform on a data folder while the context is open: the one that runs, or one that is started for it."""
    running = folder.find(data)
    if running is not None:
        from services.embedded.platform import healthy

        await healthy(running.url, data)
        yield
        return
    from services.embedded.platform import platform

    async with AsyncExitStack() as stack:
        with console.status("Starting the platform ..."):
            await stack.enter_async_context(platform(data, port=0))
        yield


async def make(
    request: dict[str, Any], clips: Sequence[Clip], logo: Path | None, out: Path, data: Path, console: Console
) -> None:
    """Make a video and write it to `out`; show the progress, and in the end what was made."""
    began = time.monotonic()
    async with any_platform(data, console):
        ready = time.monotonic()
        async with signed_in(data) as client:
            with _bars(console) as bars:
                message = await _upload(client, request, clips, logo, bars)
                job = await client.videos.CreateVideo(message)
                try:
                    status = await _follow(client, job.job_id, bars)
                except asyncio.CancelledError:
                    console.print(f"Stopped. {job.job_id} goes on as soon as the platform runs: moneyprinter up")
                    raise
                if status.status == "cancelled":
                    raise PlatformError(f"{job.job_id} was cancelled")
                if status.status != "completed":
                    raise PlatformError(f"{job.job_id} failed: {status.error.message} ({status.error.reason})")
                size = await _download(client, job.job_id, out, bars)
            video = (await client.videos.GetVideo(pb.GetVideoRequest(job_id=job.job_id))).video
        made = time.monotonic()
    console.print(
        f"[bold green]Made[/] [bold]{escape(str(out))}[/]: {video.duration:.1f} s, {size / 1e6:.1f} MB,"
        f" in {made - began:.1f} s ({made - ready:.1f} s without the platform's start)"
    )
    if video.missing_glyphs:
        console.print(f"[yellow]No font has[/] {escape(video.missing_glyphs)}: left out of the picture")


async def _upload(
    client: Client, request: dict[str, Any], clips: Sequence[Clip], logo: Path | None, bars: Progress
) -> pb.CreateVideoRequest:
    """The request with its clips, files uploaded; one that is named twice is uploaded once."""
    assets: dict[Path, str] = {}

    async def uploaded(file: Path) -> str:
        if file not in assets:
            bar = bars.add_task(f"Uploading {escape(file.name)}", total=max(1, file.stat().st_size))
            assets[file] = await client.upload(file, _to(bars, bar))
        return assets[file]

    named = []
    for clip in clips:
        source = {"url": clip.source} if clip.file is None else {"asset_id": await uploaded(clip.file)}
        part = {"start_time": clip.start_time, "end_time": clip.end_time, "fit": clip.fit}
        named.append({**clip.more, **source, **part})
    overlays = list(request.get("overlays", []))
    if logo is not None:
        overlays.append({"asset_id": await uploaded(logo)})
    try:
        whole = {**request, "clips": named, "overlays": overlays}
        message: pb.CreateVideoRequest = json_format.ParseDict(whole, pb.CreateVideoRequest())
    except json_format.ParseError as failure:
        raise WrongRequest(f"the request cannot be used: {failure}") from None
    return message


async def _follow(client: Client, job_id: str, bars: Progress) -> pb.GetVideoStatusResponse:
    """Show a job's stages until it has ended."""
    tasks = {stage: bars.add_task(label, total=1.0, start=False) for stage, label in STAGES.items()}
    status = pb.GetVideoStatusResponse()
    async for update in client.watch(job_id):
        status = update.status
        for stage, bar in tasks.items():
            state = getattr(status.stages, stage)
            if state != "pending" and not bars.tasks[bar].started:
                bars.start_task(bar)
            if state == "in_progress":
                bars.update(bar, completed=update.fractions[stage])
            elif state == "completed":
                bars.update(bar, completed=1.0)
            elif state == "failed":
                bars.stop_task(bar)
    return status


async def _download(client: Client, job_id: str, out: Path, bars: Progress) -> int:
    bar = bars.add_task("Downloading", total=None)

    def told(received: int, size: int) -> None:
        bars.update(bar, completed=received, total=size)

    return await client.download(job_id, out, told=told)


def _to(bars: Progress, bar: TaskID) -> Callable[[int], None]:
    return lambda done: bars.update(bar, completed=done)


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:24}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
    )


async def show_jobs(data: Path, console: Console) -> None:
    """Print the newest videos."""
    async with signed_in(data) as client:
        found = (await client.videos.ListVideos(pb.ListVideosRequest())).videos
    table = Table(Column("job", no_wrap=True, min_width=20), "title", "status", "done", "asked for")
    for video in found:
        table.add_row(video.job_id, escape(video.title), video.status, f"{video.progress} %", video.create_time)
    console.print(table if found else "There is no video yet. Make one: moneyprinter make --help")


async def show_job(data: Path, job_id: str, console: Console) -> None:
    """Print how far a job is."""
    async with signed_in(data) as client:
        video = (await client.videos.GetVideo(pb.GetVideoRequest(job_id=job_id))).video
    console.print(f"[bold]{escape(video.title)}[/] ({video.job_id}): {video.status}, {video.progress} %")
    for stage, label in STAGES.items():
        console.print(f"  {label:24} {getattr(video.stages, stage)}")
    if video.HasField("error"):
        console.print(f"  [red]{escape(video.error.message)}[/] ({video.error.reason})")
    elif video.status == "completed":
        console.print(f"  {video.duration:.1f} s, {video.file_size / 1e6:.1f} MB, at {video.result_url.string_value}")
    elif video.status == "processing":
        console.print(f"  expected at {video.estimated_completion}")


async def access_token(data: Path) -> str:
    """An access token of the first account."""
    async with signed_in(data) as client:
        return client.token
