"""The commands for videos: `moneyprinter make`, `batch`, `status`, `watch`, `download`, `revise` and so on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from services.commands.targets import parse_target
from services.commands.terminal import DataOption, out, run_until_interrupted

app = typer.Typer()

_SUBJECTS = ("script", "footage", "none")


class _MakeCommand(TyperCommand):
    """A command whose option `--review` may have no value: `moneyprinter make --review --title 'The sea'`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for place, arg in enumerate(args):
            if arg == "--review" and args[place + 1 : place + 2] not in ([subject] for subject in _SUBJECTS):
                args = [*args[: place + 1], _SUBJECTS[0], *args[place + 1 :]]
                break
        return super().parse_args(ctx, args)


@app.command(
    cls=_MakeCommand,
    epilog="Examples: [bold]moneyprinter make --title 'Why the sea is salty'[/] ·"
    " [bold]moneyprinter make --clip walk.mp4 --title 'A walk' --out walk-with-voice.mp4[/] ·"
    " [bold]moneyprinter make --clip a.mp4@5-12 --clip b.mp4 --script-file text.txt --aspect 9:16 --music calm"
    " --out short.mp4[/] · [bold]moneyprinter make request.json --out video.mp4[/]",
)
def make(
    request: Annotated[
        Path | None, typer.Argument(metavar="[REQUEST.json]", help="A request file, in the JSON of the REST interface.")
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="The title, and the topic of the script when none is given.")
    ] = None,
    script: Annotated[str | None, typer.Option(help="The text of the narration.")] = None,
    script_file: Annotated[Path | None, typer.Option(help="A text file with the narration.")] = None,
    clip: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE_OR_URL[@START-END]", help="A clip and the range of it to use, for example walk.mp4@0:05-0:12."
        ),
    ] = None,
    footage: Annotated[
        str | None,
        typer.Option(help="Pictures without clips: auto, library, pexels, pixabay, coverr or none."),
    ] = None,
    language: Annotated[str | None, typer.Option(help="The language of a written script, for example de.")] = None,
    languages: Annotated[
        str | None,
        typer.Option(
            metavar="de,ja,en",
            help="One video for each language, with the same footage; the first is that of the title and the script.",
        ),
    ] = None,
    tone: Annotated[str | None, typer.Option(help="The tone of a written script, for example humorous.")] = None,
    audience: Annotated[
        str | None, typer.Option(help="The audience of a written script, for example 'children of eight'.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="The duration of a written script in seconds.")] = None,
    scenes: Annotated[int | None, typer.Option(help="The number of scenes of a written script.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Further instructions for the writer of the script.")] = None,
    voice: Annotated[str | None, typer.Option(help="The voice, for example en-US or de-DE.")] = None,
    speed: Annotated[float | None, typer.Option(help="The speed of the voice, from 0.5 to 2.")] = None,
    pause: Annotated[float | None, typer.Option(help="The pause between sentences, in seconds.")] = None,
    scene_pause: Annotated[float | None, typer.Option(help="The pause between scenes, in seconds.")] = None,
    voice_chain: Annotated[
        str, typer.Option(help="The processing of the narration: auto, on or off.", show_default=False)
    ] = "",
    pronounce: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD=SPOKEN", help="What is spoken for a word, such as nginx='engine x'; repeatable."),
    ] = None,
    narration: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A recording of the script, in your own voice, in any audio format."),
    ] = None,
    music: Annotated[
        str | None,
        typer.Option(metavar="MOOD_OR_FILE", help="none, upbeat, calm, dramatic, happy, dark, or an audio file."),
    ] = None,
    resolution: Annotated[str | None, typer.Option(help="480p, 720p, 1080p, 1440p or 2160p.")] = None,
    aspect: Annotated[str | None, typer.Option(help="16:9, 9:16, 1:1, 4:5 or 21:9.")] = None,
    frame_rate: Annotated[int | None, typer.Option(help="24, 25, 30, 50 or 60 frames a second.")] = None,
    fit: Annotated[str | None, typer.Option(help="How clips fill the frame: cover, contain, blur or stretch.")] = None,
    transition: Annotated[
        str | None,
        typer.Option(help="The transition between clips: none, crossfade, fade_black, slide_left, wipe_up, zoom, ..."),
    ] = None,
    captions: Annotated[str | None, typer.Option(help="The position of captions: bottom, middle, top or none.")] = None,
    highlight: Annotated[
        str | None, typer.Option(help="How captions highlight the spoken word: none, word or karaoke.")
    ] = None,
    font: Annotated[str | None, typer.Option(help="The font of captions, for example 'Manrope Bold'.")] = None,
    logo: Annotated[Path | None, typer.Option(help="An image for the upper right corner.")] = None,
    quality: Annotated[str | None, typer.Option(help="draft, standard or high.")] = None,
    priority: Annotated[str | None, typer.Option(help="The job's priority: low, normal or high.")] = None,
    review: Annotated[
        str | None,
        typer.Option(
            metavar="[script|footage]",
            help="Show the script, or the script with its footage, and ask before anything costly runs: script or"
            " footage; script without a value.",
        ),
    ] = None,
    out_file: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="The output file: .mp4, or .webm for VP9 and AV1."),
    ] = Path("video.mp4"),
    only_video: Annotated[
        bool, typer.Option("--only-video", help="Save the video without its captions, poster and renditions.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Make one video. Starts a platform when none is running, and stops it afterwards."""
    from services.commands.actions import make as making
    from services.commands.actions import request_files
    from services.commands.errors import WrongRequest

    if script is not None and script_file is not None:
        raise WrongRequest("give either --script or --script-file")
    if script_file is not None:
        script = request_files.read_script(script_file)
    mood, music_file = request_files.parse_music(music)
    settings = {
        "title": title,
        "audio.script": script,
        "audio.voice": voice,
        "audio.speed": speed,
        "audio.sentence_pause": pause,
        "audio.scene_pause": scene_pause,
        "audio.voice_chain": voice_chain,
        "audio.pronunciations": request_files.parse_pronunciations(pronounce or []) or None,
        "audio.background_music": mood,
        "audio.narration_asset_id": narration,
        "audio.music_asset_id": music_file,
        "settings.resolution": resolution,
        "settings.aspect_ratio": aspect,
        "settings.quality": quality,
        "settings.frame_rate": frame_rate,
        "settings.transition": transition,
        "captions.position": captions,
        "captions.highlight": highlight,
        "captions.font": font,
        "priority": priority,
        "footage": footage,
        "languages": request_files.parse_languages(languages),
        "writing.language": language,
        "writing.tone": tone,
        "writing.audience": audience,
        "writing.seconds": seconds,
        "writing.scene_count": scenes,
        "writing.prompt": prompt,
        "review": review,
    }
    fields, clips = request_files.read_request(request, settings, clip or [])
    if request is None and not clips and not title:
        raise WrongRequest("the video has no clips: give --title for a video on a topic, or --clip FILE_OR_URL")
    fields.setdefault("title", out_file.stem)
    request_files.choose_codec(fields, out_file)
    request_files.check_files(clips, logo, out_file, request_files.find_sounds(fields))
    clips = [replace(c, fit=fit or c.fit) for c in clips]
    work = making.make_video(fields, clips, logo, out_file, parse_target(data), out, only_video=only_video)
    run_until_interrupted(work)


@app.command(
    epilog="Examples: [bold]moneyprinter status[/] · [bold]moneyprinter status --limit 100 --wide[/] ·"
    " [bold]moneyprinter status vid_12345abc[/]"
)
def status(
    job: Annotated[str | None, typer.Argument(help="A job id. Without it, the newest jobs are listed.")] = None,
    limit: Annotated[int, typer.Option(help="The largest number of jobs to list.", min=1)] = 20,
    wide: Annotated[bool, typer.Option("--wide", help="List full titles and creation times.")] = False,
    group: Annotated[
        str, typer.Option(metavar="ID", help="List only the videos of this group, made in several languages.")
    ] = "",
    data: DataOption = None,
) -> None:
    """Show the progress of a job, or list the newest jobs."""
    from services.commands.actions import videos

    target = parse_target(data)
    asyncio.run(videos.show_job(target, job, out) if job else videos.show_jobs(target, limit, wide, out, group))


@app.command(epilog="Example: [bold]moneyprinter watch vid_12345abc[/]")
def watch(job: Annotated[str, typer.Argument(help="The job id.")], data: DataOption = None) -> None:
    """Follow a job until it has ended. Exits with 1 when it failed."""
    from services.commands.actions import videos

    run_until_interrupted(videos.watch_video(parse_target(data), job, out))


@app.command(
    epilog="Examples: [bold]moneyprinter download vid_12345abc[/] · [bold]moneyprinter download vid_12345abc --out"
    " walk.mp4 --only-video[/] · [bold]moneyprinter download vid_12345abc --file captions.vtt --out walk.vtt[/]"
)
def download(
    job: Annotated[str, typer.Argument(help="The job id.")],
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The output file.", show_default="the title")
    ] = None,
    file: Annotated[str, typer.Option(help="Save only this file of the video, for example poster.jpg.")] = "",
    only_video: Annotated[
        bool, typer.Option("--only-video", help="Save the video without its captions, poster and renditions.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Save a finished video, its captions, poster and renditions."""
    from services.commands.actions import videos

    run_until_interrupted(videos.download_video(parse_target(data), job, out_file, file, only_video, out))


@app.command(
    epilog="Examples: [bold]moneyprinter revise vid_12345abc --title 'A better title' --out better.mp4[/] ·"
    " [bold]moneyprinter revise vid_12345abc changes.json[/]. Only the affected parts are rendered again."
)
def revise(
    job: Annotated[str, typer.Argument(help="The job id.")],
    changes: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CHANGES.json]", help="A file with the changed fields, in the JSON of the REST interface."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="The new title.")] = None,
    script_file: Annotated[Path | None, typer.Option(help="A text file with the new narration.")] = None,
    voice: Annotated[str | None, typer.Option(help="The new voice.")] = None,
    music: Annotated[str | None, typer.Option(help="The new music.")] = None,
    aspect: Annotated[str | None, typer.Option(help="The new aspect ratio, for example 9:16.")] = None,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Wait for the new video and write it to this file."),
    ] = None,
    data: DataOption = None,
) -> None:
    """Make a video again with changed fields, as a new job."""
    from services.commands.actions import request_files, videos

    settings = {
        "title": title,
        "audio.script": request_files.read_script(script_file) if script_file else None,
        "audio.voice": voice,
        "audio.background_music": music,
        "settings.aspect_ratio": aspect,
    }
    changed_fields = request_files.read_changes(changes, settings)
    if out_file is not None:
        request_files.check_writable(out_file)
    run_until_interrupted(videos.revise_video(parse_target(data), job, changed_fields, out_file, out))


@app.command(
    epilog="Examples: [bold]moneyprinter batch videos.csv --out-folder videos[/] · [bold]moneyprinter batch"
    " requests.jsonl[/]. A CSV file has one row per video, with the columns title, clip (several separated by |),"
    " script, voice, music, aspect, resolution and quality. A JSON Lines file has one request per line."
)
def batch(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv|FILE.jsonl", help="The file that lists the videos.")],
    out_folder: Annotated[Path, typer.Option(help="The folder for the videos.")] = Path("videos"),
    only_video: Annotated[
        bool, typer.Option("--only-video", help="Save no captions, poster and renditions beside the videos.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Make one video for each row of a file. A second run makes the missing ones. Exits with 1 when one failed."""
    from services.commands.actions import batches

    rows = batches.read_rows(file)
    run_until_interrupted(batches.make_batch(rows, out_folder, parse_target(data), out, only_video=only_video))


@app.command(
    epilog="Examples: [bold]moneyprinter approve vid_12345abc[/] · [bold]moneyprinter approve vid_12345abc --edit[/] ·"
    " [bold]moneyprinter approve vid_12345abc --script better.txt[/]. `moneyprinter status JOB` shows the script."
)
def approve(
    job: Annotated[str, typer.Argument(help="The job id.")],
    script_file: Annotated[
        Path | None,
        typer.Option("--script", "--script-file", metavar="FILE", help="A text file with the edited script."),
    ] = None,
    edit: Annotated[bool, typer.Option("--edit", help="Edit the script in $EDITOR first.")] = False,
    data: DataOption = None,
) -> None:
    """Approve the script of a job that waits for your review. The job continues."""
    from services.commands.actions import reviews

    run_until_interrupted(reviews.approve_video(parse_target(data), job, script_file, edit, out))


@app.command(epilog="Example: [bold]moneyprinter cancel vid_12345abc[/]")
def cancel(job: Annotated[str, typer.Argument(help="The job id.")], data: DataOption = None) -> None:
    """Cancel a job. Its running work stops."""
    from services.commands.actions import videos

    asyncio.run(videos.cancel_video(parse_target(data), job, out))


@app.command(epilog="Example: [bold]moneyprinter retry vid_12345abc[/]")
def retry(job: Annotated[str, typer.Argument(help="The job id.")], data: DataOption = None) -> None:
    """Continue a failed or cancelled job from its last completed step."""
    from services.commands.actions import videos

    asyncio.run(videos.retry_video(parse_target(data), job, out))


@app.command(epilog="Example: [bold]moneyprinter delete vid_12345abc[/]")
def delete(job: Annotated[str, typer.Argument(help="The job id.")], data: DataOption = None) -> None:
    """Delete a video and its files. A running job is cancelled first."""
    from services.commands.actions import videos

    asyncio.run(videos.delete_video(parse_target(data), job, out))
