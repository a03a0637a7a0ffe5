"""One video from the command line: finds or starts a platform, uploads, follows the job, saves the files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from moneyprinter import errors
from moneyprinter.audio.v1 import speech_service_pb2 as speech_pb
from moneyprinter.client import Client
from moneyprinter.content.v1 import writing_service_pb2 as writing_pb
from moneyprinter.video.v1 import video_service_pb2 as pb
from services.commands.actions.request_files import Clip, find_orientation, find_sounds, to_message
from services.commands.actions.reviews import ask_for_approval
from services.commands.actions.saved_files import save_files
from services.commands.actions.sessions import open_client
from services.commands.targets import Target
from services.embedded import data_folder
from services.embedded.errors import AlreadyRunning, PlatformError

# The pause between two checks whether a platform that another process starts has its address.
STARTING_PAUSE_SECONDS = 0.2

STAGES = {
    "validation": "Checking the clips",
    "audio_generation": "Speaking and mixing",
    "video_processing": "Rendering the picture",
    "concatenation": "Joining the pieces",
    "rendering": "Finishing",
}


@asynccontextmanager
async def ensure_platform(target: Target, console: Console) -> AsyncIterator[bool]:
    """Find the platform of a target, or run one while the context is open.

    Yields whether the platform runs independently of this command. Raises `PlatformError` when one cannot start.
    """
    if target.folder is None:
        yield True
        return
    from services.embedded.platform import run_platform, wait_until_healthy

    async with AsyncExitStack() as stack:
        with console.status("Starting the platform ..."):
            while (running := data_folder.find_platform(target.folder)) is None:
                # Another platform that starts on the folder at the same moment is used once it has its address.
                with suppress(AlreadyRunning):
                    await stack.enter_async_context(run_platform(target.folder, port=0))
                    break
                await asyncio.sleep(STARTING_PAUSE_SECONDS)
            else:
                await wait_until_healthy(running.url, target.folder)
        yield running is not None


async def make_video(
    request: dict[str, Any],
    clips: Sequence[Clip],
    logo: Path | None,
    out: Path,
    target: Target,
    console: Console,
    *,
    only_video: bool = False,
) -> None:
    """Make a video, write it to `out` and its other files beside it, and show the progress."""
    check_request(request, clips, logo)
    began = time.monotonic()
    async with ensure_platform(target, console) as is_independent:
        ready = time.monotonic()
        async with open_client(target) as client:
            await _check_voice(client, request)
            await _check_font(client, request)
            with progress_bars(console) as bars:
                assets = await upload_files(client, clips, logo, bars, find_sounds(request))
                created = await client.videos.CreateVideo(build_request(request, clips, logo, assets))
                jobs = _name_files(created, out)
                for job_id in jobs:
                    review = partial(ask_for_approval, client, job_id, console, find_orientation(request))
                    await wait_until_finished(
                        client, job_id, bars, console, is_independent=is_independent, review=review
                    )
            for job_id, file in jobs.items():
                saved = await save_files(client, job_id, file, console, only_video=only_video)
                ended = time.monotonic()
                start = "" if is_independent else f" ({ended - ready:.1f} s without the platform's start)"
                console.print(
                    f"[bold green]Made[/] [bold]{escape(str(file))}[/]: {saved.video.duration:.1f} s,"
                    f" {saved.size_bytes / 1e6:.1f} MB, in {ended - began:.1f} s{start}"
                )


def _name_files(created: pb.CreateVideoResponse, out: Path) -> dict[str, Path]:
    """The file of each job: `out`, or `video.de.mp4` and so on for several languages."""
    if not created.group.videos:
        return {created.job_id: out}
    return {each.job_id: out.with_name(f"{out.stem}.{each.language}{out.suffix}") for each in created.group.videos}


async def _check_voice(client: Client, request: dict[str, Any]) -> None:
    """Raise `InvalidArgument` when the requested voice does not exist, before any upload."""
    voice = str(request.get("audio", {}).get("voice", ""))
    if voice and voice != "none":
        # An account without the role for speech is refused only when it creates the video.
        with suppress(errors.PermissionDenied):
            await client.speech.TimeSpeech(speech_pb.TimeSpeechRequest(text="1", voice=voice))


async def _check_font(client: Client, request: dict[str, Any]) -> None:
    """Raise `InvalidArgument` when the requested font does not exist, before any upload."""
    font = str(request.get("captions", {}).get("font", ""))
    if font:
        trial = writing_pb.CreateCaptionsRequest(
            script="1", duration=1, format="ass", width=64, height=64, style=pb.Captions(font=font)
        )
        # An account without the role for captions is refused only when it creates the video.
        with suppress(errors.PermissionDenied):
            async for _ in client.writing.CreateCaptions(trial):
                pass


def check_request(request: dict[str, Any], clips: Sequence[Clip], logo: Path | None = None) -> None:
    """Check a request against the contract, before any upload. Raises `WrongRequest` or `InvalidArgument`."""
    from services.runtime.request_checks import check_message

    check_message(build_request(request, clips, logo, {}))


async def upload_files(
    client: Client,
    clips: Sequence[Clip],
    logo: Path | None = None,
    bars: Progress | None = None,
    sounds: Sequence[Path] = (),
) -> dict[Path, str]:
    """Upload the files of a request, each once. Returns the asset id of each file."""
    assets: dict[Path, str] = {}
    for file in (*(clip.file for clip in clips), logo, *sounds):
        if file is None or file in assets:
            continue
        if bars is None:
            assets[file] = await client.upload(file)
        else:
            bar = bars.add_task(f"Uploading {escape(file.name)}", total=max(1, file.stat().st_size))
            assets[file] = await client.upload(file, progress_callback(bars, bar))
    return assets


def build_request(
    request: dict[str, Any], clips: Sequence[Clip], logo: Path | None, assets: dict[Path, str]
) -> pb.CreateVideoRequest:
    """Add clips, logo and sounds to a request. A file that is not uploaded yet gets the placeholder id `ast_0`."""
    clip_fields = []
    for clip in clips:
        source = {"asset_id": assets.get(clip.file, "ast_0")} if clip.file is not None else {"url": clip.source}
        part = {"start_time": clip.start_time, "end_time": clip.end_time, "fit": clip.fit}
        clip_fields.append(
            {**clip.extra_fields, **{name: value for name, value in {**source, **part}.items() if value}}
        )
    overlays = list(request.get("overlays", []))
    if logo is not None:
        overlays.append({"asset_id": assets.get(logo, "ast_0")})
    fields = {**request, "clips": clip_fields, "overlays": overlays}
    if sounds := find_sounds(request):
        ids = {file: assets.get(file, "ast_0") for file in sounds}
        fields["audio"] = {name: ids.get(value, value) for name, value in request["audio"].items()}
    return to_message(fields)


async def wait_until_finished(
    client: Client,
    job_id: str,
    bars: Progress,
    console: Console,
    *,
    is_independent: bool = True,
    review: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Show the stages of a job until it has ended. `review` runs when the job waits for the approval of its owner.

    Raises `PlatformError` when it was cancelled or failed.
    """
    tasks = {stage: bars.add_task(label, total=1.0, start=False) for stage, label in STAGES.items()}
    try:
        while (status := await _follow(client, job_id, bars, tasks)).HasField("review"):
            if review is None:
                console.print(f"{job_id} waits for your review; approve it with: moneyprinter approve {job_id}")
                await _wait_for_approval(client, job_id)
                continue
            bars.stop()
            await review()
            bars.start()
    except asyncio.CancelledError:
        advice = (
            f" continues; follow it with: moneyprinter watch {job_id}"
            if is_independent
            else " continues when the platform runs again: moneyprinter up"
        )
        console.print(f"Stopped. {job_id}{advice}")
        raise
    if status.status == "cancelled":
        raise PlatformError(f"{job_id} was cancelled")
    if status.status != "completed":
        raise PlatformError(f"{job_id} failed: {status.error.message} ({status.error.reason})")


async def _follow(
    client: Client, job_id: str, bars: Progress, tasks: Mapping[str, TaskID]
) -> pb.GetVideoStatusResponse:
    """Show the stages of a job until it has ended, or waits for a review."""
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
        if status.HasField("review"):
            break
    return status


async def _wait_for_approval(client: Client, job_id: str) -> None:
    async for update in client.watch(job_id):
        if not update.status.HasField("review"):
            return


def progress_callback(bars: Progress, bar: TaskID) -> Callable[[int], None]:
    """Return a callback that updates a progress bar with the amount done."""
    return lambda done: bars.update(bar, completed=done)


def progress_bars(console: Console) -> Progress:
    """Create the progress display, which has one bar for each stage or upload."""
    return Progress(
        TextColumn("{task.description:24}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=console,
    )
