"""Jobs: the commands that look after videos and uploads, and what failed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from services.commands.targets import parse_target
from services.commands.terminal import Data, out, until_interrupted

app = typer.Typer()


@app.command(
    epilog="Examples: [bold]moneyprinter status[/] · [bold]moneyprinter status --limit 100 --wide[/] ·"
    " [bold]moneyprinter status vid_12345abc[/]"
)
def status(
    job: Annotated[str | None, typer.Argument(help="A job; without it, the newest ones are listed.")] = None,
    limit: Annotated[int, typer.Option(help="How many are listed at most.", min=1)] = 20,
    wide: Annotated[bool, typer.Option("--wide", help="List whole titles, and when each was asked for.")] = False,
    data: Data = None,
) -> None:
    """Show how far a video is, or list the newest."""
    from services.commands import videos

    target = parse_target(data)
    asyncio.run(videos.show_job(target, job, out) if job else videos.show_jobs(target, limit, wide, out))


@app.command(epilog="Example: [bold]moneyprinter watch vid_12345abc[/]")
def watch(job: Annotated[str, typer.Argument(help="The job.")], data: Data = None) -> None:
    """Follow a job until it has ended; ends with 1 when it has failed."""
    from services.commands import videos

    until_interrupted(videos.watch(parse_target(data), job, out))


@app.command(
    epilog="Examples: [bold]moneyprinter download vid_12345abc[/] · [bold]moneyprinter download vid_12345abc --out"
    " walk.mp4 --only-video[/] · [bold]moneyprinter download vid_12345abc --file captions.vtt --out walk.vtt[/]"
)
def download(
    job: Annotated[str, typer.Argument(help="The job.")],
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where it is written.", show_default="its title")
    ] = None,
    file: Annotated[str, typer.Option(help="Only this file of it, for example poster.jpg.")] = "",
    only_video: Annotated[
        bool, typer.Option("--only-video", help="Save no captions, poster and renditions beside the video.")
    ] = False,
    data: Data = None,
) -> None:
    """Save a finished video, with its captions, poster and renditions beside it."""
    from services.commands import videos

    until_interrupted(videos.download(parse_target(data), job, out_file, file, only_video, out))


@app.command(
    epilog="Examples: [bold]moneyprinter revise vid_12345abc --title 'A better title' --out better.mp4[/] ·"
    " [bold]moneyprinter revise vid_12345abc changes.json[/]. What the changes do not touch is not rendered anew."
)
def revise(
    job: Annotated[str, typer.Argument(help="The job.")],
    changes: Annotated[
        Path | None,
        typer.Argument(metavar="[CHANGES.json]", help="The changed fields, as the REST interface takes them."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Another title.")] = None,
    script_file: Annotated[Path | None, typer.Option(help="A text file with another narration.")] = None,
    voice: Annotated[str | None, typer.Option(help="Another voice.")] = None,
    music: Annotated[str | None, typer.Option(help="Other music.")] = None,
    aspect: Annotated[str | None, typer.Option(help="Another shape, for example 9:16.")] = None,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Wait for the new video, and write it here."),
    ] = None,
    data: Data = None,
) -> None:
    """Make a video again with some fields changed, as a new job."""
    from services.commands import request_files, videos

    settings = {
        "title": title,
        "audio.script": request_files.read_script(script_file) if script_file else None,
        "audio.voice": voice,
        "audio.background_music": music,
        "settings.aspect_ratio": aspect,
    }
    changed = request_files.read_changes(changes, settings)
    if out_file is not None:
        request_files.check_writable(out_file)
    until_interrupted(videos.revise(parse_target(data), job, changed, out_file, out))


@app.command(
    epilog="Examples: [bold]moneyprinter batch videos.csv --out-folder videos[/] · [bold]moneyprinter batch"
    " requests.jsonl[/]. A CSV file has a row for each video and the columns title, clip, script, voice, music, aspect,"
    " resolution, quality (several clips with a | between); a file of JSON lines has a request in each."
)
def batch(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv|FILE.jsonl", help="The videos.")],
    out_folder: Annotated[Path, typer.Option(help="Where the videos are written.")] = Path("videos"),
    only_video: Annotated[
        bool, typer.Option("--only-video", help="Save no captions, poster and renditions beside the videos.")
    ] = False,
    data: Data = None,
) -> None:
    """Make a video of each row of a file; ends with 1 when one has failed. A second run makes the missing ones."""
    from services.commands import batches

    rows = batches.read_rows(file)
    until_interrupted(batches.make_all(rows, out_folder, parse_target(data), out, only_video=only_video))


@app.command(epilog="Example: [bold]moneyprinter upload walk.mp4 sea.mp4[/]")
def upload(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Videos, pictures.")], data: Data = None
) -> None:
    """Upload files, and print the ids that requests name them by."""
    from services.commands import videos

    until_interrupted(videos.upload(parse_target(data), files, out))


@app.command(epilog="Examples: [bold]moneyprinter settings[/] · [bold]moneyprinter settings --retention-days 30[/]")
def settings(
    retention_days: Annotated[
        int | None,
        typer.Option(min=0, max=3650, help="For how many days videos and uploads are kept; 0: until they are deleted."),
    ] = None,
    data: Data = None,
) -> None:
    """Show the settings of your account, or change them."""
    from services.commands import control

    asyncio.run(control.retention(parse_target(data), retention_days, out))


@app.command(epilog="Example: [bold]moneyprinter cancel vid_12345abc[/]")
def cancel(job: Annotated[str, typer.Argument(help="The job.")], data: Data = None) -> None:
    """End a job that is not finished; what works on it stops."""
    from services.commands import control

    asyncio.run(control.cancel(parse_target(data), job, out))


@app.command(epilog="Example: [bold]moneyprinter retry vid_12345abc[/]")
def retry(job: Annotated[str, typer.Argument(help="The job.")], data: Data = None) -> None:
    """Go on with a failed or cancelled job; what was done is not done again."""
    from services.commands import control

    asyncio.run(control.retry(parse_target(data), job, out))


@app.command(epilog="Example: [bold]moneyprinter delete vid_12345abc[/]")
def delete(job: Annotated[str, typer.Argument(help="The job.")], data: Data = None) -> None:
    """Delete a video and its files; a job that is not finished is cancelled first."""
    from services.commands import control

    asyncio.run(control.delete(parse_target(data), job, out))


deadletter = typer.Typer(help="What failed for good: list it, show what was tried, and retry it.", no_args_is_help=True)
app.add_typer(deadletter, name="deadletter")


@deadletter.command("list", epilog="Example: [bold]moneyprinter deadletter list[/]")
def list_dead_letters(data: Data = None) -> None:
    """List what failed, newest first."""
    from services.commands import control

    asyncio.run(control.show_dead_letters(parse_target(data), out))


@deadletter.command("show", epilog="Example: [bold]moneyprinter deadletter show vid_12345abc[/]")
def show_dead_letter(job: Annotated[str, typer.Argument(help="The job.")], data: Data = None) -> None:
    """Show why a job failed, and what was tried."""
    from services.commands import control

    asyncio.run(control.show_dead_letter(parse_target(data), job, out))


@deadletter.command("retry", epilog="Example: [bold]moneyprinter deadletter retry vid_12345abc[/]")
def retry_dead_letter(job: Annotated[str, typer.Argument(help="The job.")], data: Data = None) -> None:
    """Go on with a job that failed, from the step that failed."""
    from services.commands import control

    asyncio.run(control.retry(parse_target(data), job, out))


uploads = typer.Typer(help="What was uploaded: list it, and delete it.", no_args_is_help=True)
app.add_typer(uploads, name="uploads")


@uploads.command("list", epilog="Example: [bold]moneyprinter uploads list[/]")
def list_uploads(data: Data = None) -> None:
    """List what was uploaded, newest first."""
    from services.commands import control

    asyncio.run(control.show_uploads(parse_target(data), out))


@uploads.command("delete", epilog="Example: [bold]moneyprinter uploads delete ast_12345abc[/]")
def delete_upload(upload: Annotated[str, typer.Argument(help="The upload.")], data: Data = None) -> None:
    """Delete an upload; videos that were made of it stay."""
    from services.commands import control

    asyncio.run(control.delete_upload(parse_target(data), upload, out))


@app.command(epilog="Examples: [bold]moneyprinter retention[/] · [bold]moneyprinter retention 30[/]")
def retention(
    days: Annotated[
        int | None, typer.Argument(min=0, max=3650, help="For how many days from now on; 0: until they are deleted.")
    ] = None,
    data: Data = None,
) -> None:
    """Say for how long your videos and uploads are kept, or choose it."""
    from services.commands import control

    asyncio.run(control.retention(parse_target(data), days, out))


@app.command(epilog="Example: [bold]moneyprinter usage[/]")
def usage(data: Data = None) -> None:
    """Show how much of the platform your account uses, and its limits."""
    from services.commands import control

    asyncio.run(control.show_usage(parse_target(data), out))
