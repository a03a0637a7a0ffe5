"""Make: one video from the command line. Finds or starts a platform, uploads, follows the job, saves its files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from moneyprinter import errors
from moneyprinter.audio.v1 import speech_service_pb2 as speech_pb
from moneyprinter.client import Client
from moneyprinter.video.v1 import video_service_pb2 as pb
from services.commands.request_files import Clip, to_message
from services.commands.results import save_files
from services.commands.sessions import signed_in
from services.commands.targets import Target
from services.embedded import data_folder
from services.embedded.errors import AlreadyRunning, PlatformError
from services.runtime.request_checks import check_message

# How long to wait before looking again for a platform that another process starts.
STARTING_PAUSE_SECONDS = 0.2

STAGES = {
    "validation": "Checking the clips",
    "audio_generation": "Speaking and mixing",
    "video_processing": "Rendering the picture",
    "concatenation": "Joining the pieces",
    "rendering": "Finishing",
}


@asynccontextmanager
async def any_platform(target: Target, console: Console) -> AsyncIterator[bool]:
    """Have the platform of a target while the context is open: the one that runs, or one that is started for it.

    Yields whether it runs without us.
    """
    if target.folder is None:
        yield True
        return
    from services.embedded.platform import run_platform, wait_until_healthy

    async with AsyncExitStack() as stack:
        with console.status("Starting the platform ..."):
            while (running := data_folder.find_platform(target.folder)) is None:
                # Another one that starts at the same moment is used as soon as it has its address.
                with suppress(AlreadyRunning):
                    await stack.enter_async_context(run_platform(target.folder, port=0))
                    break
                await asyncio.sleep(STARTING_PAUSE_SECONDS)
            else:
                await wait_until_healthy(running.url, target.folder)
        yield running is not None


async def make(
    request: dict[str, Any],
    clips: Sequence[Clip],
    logo: Path | None,
    out: Path,
    target: Target,
    console: Console,
    *,
    only_video: bool = False,
) -> None:
    """Make a video and write it to `out`, its other files beside it; show the progress, and what was made."""
    check_request(request, clips, logo)
    began = time.monotonic()
    async with any_platform(target, console) as runs_on:
        ready = time.monotonic()
        async with signed_in(target) as client:
            await _check_voice(client, request)
            with progress_bars(console) as bars:
                assets = await upload_files(client, clips, logo, bars)
                job = await client.videos.CreateVideo(with_clips(request, clips, logo, assets))
                await finish(client, job.job_id, bars, console, runs_on=runs_on)
            saved = await save_files(client, job.job_id, out, console, only_video=only_video)
        made = time.monotonic()
    console.print(
        f"[bold green]Made[/] [bold]{escape(str(out))}[/]: {saved.video.duration:.1f} s,"
        f" {saved.size_bytes / 1e6:.1f} MB, in {made - began:.1f} s ({made - ready:.1f} s without the platform's start)"
    )


async def _check_voice(client: Client, request: dict[str, Any]) -> None:
    """Raise InvalidArgument when there is no such voice, before anything is uploaded."""
    voice = str(request.get("audio", {}).get("voice", ""))
    if voice and voice != "none":
        # Who may not use the voices by themselves is refused when the video is created.
        with suppress(errors.PermissionDenied):
            await client.speech.TimeSpeech(speech_pb.TimeSpeechRequest(text="1", voice=voice))


def check_request(request: dict[str, Any], clips: Sequence[Clip], logo: Path | None = None) -> None:
    """Raise WrongRequest or InvalidArgument when a request breaks the contract, before anything is uploaded for it."""
    check_message(with_clips(request, clips, logo, {}))


async def upload_files(
    client: Client, clips: Sequence[Clip], logo: Path | None = None, bars: Progress | None = None
) -> dict[Path, str]:
    """Upload the files of a request, each once; their ids."""
    assets: dict[Path, str] = {}
    for file in (*(clip.file for clip in clips), logo):
        if file is None or file in assets:
            continue
        if bars is None:
            assets[file] = await client.upload(file)
        else:
            bar = bars.add_task(f"Uploading {escape(file.name)}", total=max(1, file.stat().st_size))
            assets[file] = await client.upload(file, show_on(bars, bar))
    return assets


def with_clips(
    request: dict[str, Any], clips: Sequence[Clip], logo: Path | None, assets: dict[Path, str]
) -> pb.CreateVideoRequest:
    """The request with its clips and logo; files that have no asset yet get the place of one."""
    named = []
    for clip in clips:
        source = {"asset_id": assets.get(clip.file, "ast_0")} if clip.file is not None else {"url": clip.source}
        part = {"start_time": clip.start_time, "end_time": clip.end_time, "fit": clip.fit}
        named.append({**clip.more, **{name: value for name, value in {**source, **part}.items() if value}})
    overlays = list(request.get("overlays", []))
    if logo is not None:
        overlays.append({"asset_id": assets.get(logo, "ast_0")})
    return to_message({**request, "clips": named, "overlays": overlays})


async def finish(client: Client, job_id: str, bars: Progress, console: Console, *, runs_on: bool = True) -> None:
    """Show a job's stages until it has ended. Raises PlatformError when it was cancelled or has failed."""
    try:
        status = await _follow(client, job_id, bars)
    except asyncio.CancelledError:
        goes_on = (
            f"; follow it with: moneyprinter watch {job_id}"
            if runs_on
            else " as soon as the platform runs: moneyprinter up"
        )
        console.print(f"Stopped. {job_id} goes on{goes_on}")
        raise
    if status.status == "cancelled":
        raise PlatformError(f"{job_id} was cancelled")
    if status.status != "completed":
        raise PlatformError(f"{job_id} failed: {status.error.message} ({status.error.reason})")


async def _follow(client: Client, job_id: str, bars: Progress) -> pb.GetVideoStatusResponse:
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


def show_on(bars: Progress, bar: TaskID) -> Callable[[int], None]:
    """A callback that shows on a bar how much is done."""
    return lambda done: bars.update(bar, completed=done)


def progress_bars(console: Console) -> Progress:
    """Bars of work that takes a while, one for each part of it."""
    return Progress(
        TextColumn("{task.description:24}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
    )
