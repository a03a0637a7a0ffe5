"""Single stages from the command line: speech, captions, footage, and the probe of a clip."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from moneyprinter.audio.v1 import speech_service_pb2 as speech_pb
from moneyprinter.client import Client
from moneyprinter.content.v1 import footage_search_service_pb2 as footage_pb
from moneyprinter.content.v1 import writing_service_pb2 as pb
from moneyprinter.video.v1 import clip_service_pb2 as clips_pb
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from services.commands.actions.make import ensure_platform
from services.commands.actions.request_files import check_writable, read_script
from services.commands.actions.sessions import open_client
from services.commands.errors import WrongRequest
from services.commands.targets import Target

SPEECH_FORMATS = {".wav": "wav", ".mp3": "mp3", ".opus": "opus", ".ogg": "opus", ".flac": "flac"}
CAPTION_FORMATS = {".srt": "srt", ".vtt": "vtt", ".ass": "ass"}
ASPECT_RATIOS = {
    "16:9": (1920, 1080),
    "9:16": (1080, 1920),
    "1:1": (1080, 1080),
    "4:5": (1080, 1350),
    "21:9": (2520, 1080),
}
_HDR = {"pq": "HDR (PQ)", "hlg": "HDR (HLG)"}


@asynccontextmanager
async def open_stage_client(target: Target, console: Console) -> AsyncIterator[Client]:
    """Open a client of the target's platform; starts a platform when none runs. Raises `PlatformError`."""
    async with ensure_platform(target, console), open_client(target) as client:
        yield client


def read_text(text: str | None, file: Path | None) -> str:
    """Return the given text, or that of the file. Raises `WrongRequest` unless exactly one is given."""
    if (text is None) == (file is None):
        raise WrongRequest("give either TEXT or --text-file")
    return read_script(file) if file is not None else text or ""


def output_format(out: Path, formats: dict[str, str]) -> str:
    """Return the format of an output file by its suffix. Raises `WrongRequest` when it is unknown or not writable."""
    check_writable(out)
    if out.suffix.lower() not in formats:
        raise WrongRequest(f"{out.name} must end with one of {', '.join(formats)}")
    return formats[out.suffix.lower()]


async def write_speech(
    text: str,
    options: Mapping[str, Any],
    out: Path,
    timings: Path | None,
    target: Target,
    console: Console,
) -> None:
    """Write the speech of a text, and the times of its words to `timings`.

    `options` are those of `Client.word_times`.
    """
    audio_format = output_format(out, SPEECH_FORMATS)
    if timings is not None:
        output_format(timings, {".json": "json"})
    async with open_stage_client(target, console) as client:
        times, size = await asyncio.gather(
            client.word_times(text, **options),
            client.say(text, out, format=audio_format, **options),
        )
    words = sum(len(sentence.words) for sentence in times.sentences)
    if timings is not None:
        timings.write_text(_to_json(times))
    console.print(
        f"[bold green]Said[/] [bold]{escape(str(out))}[/]: {times.duration:.1f} s, {words} words, {size / 1e3:.0f} kB"
    )
    for notice in times.notices:
        console.print(f"[yellow]Note:[/] {escape(notice.message)}")


async def show_footage(request: footage_pb.SearchFootageRequest, target: Target, console: Console) -> None:
    """Print the clips that a search finds."""
    async with open_stage_client(target, console) as client:
        response = await client.footage.SearchFootage(request)
    print_footage(response, request.terms, console)


def print_footage(response: footage_pb.SearchFootageResponse, terms: str, console: Console) -> None:
    """Print the clips of a search for `terms`, and its notices."""
    # The address is what a request for a video needs: it is folded, and never shortened.
    table = Table("clip", Column("size", no_wrap=True), "seconds", "author", Column("address", overflow="fold"))
    for clip in response.clips:
        size = f"{clip.width} x {clip.height}"
        table.add_row(escape(clip.id), size, f"{clip.seconds:.0f}", escape(clip.author), escape(clip.url))
    console.print(table if response.clips else f"No clip shows {escape(terms)}; try fewer words.")
    for notice in response.notices:
        console.print(f"[yellow]Note:[/] {escape(notice.message)}")


def read_timings(file: Path) -> speech_pb.TimeSpeechResponse:
    """Read the times of words from the output of `say --timings`. Raises `WrongRequest` when the file is no such."""
    try:
        return json_format.Parse(read_script(file), speech_pb.TimeSpeechResponse())
    except json_format.ParseError as failure:
        raise WrongRequest(f"{file} holds no word times: {failure}") from None


async def write_captions(
    request: pb.CreateCaptionsRequest, voice: str, out: Path, target: Target, console: Console
) -> None:
    """Write a file of captions. The words of a script without a duration get the times of a voice."""
    request.format = output_format(out, CAPTION_FORMATS)
    async with open_stage_client(target, console) as client:
        if request.script and not request.duration:
            times = await client.word_times(request.script, voice=voice)
            request.sentences.extend(times.sentences)
            request.script = ""
        await client.make_captions(request, out)
    console.print(f"[bold green]Captioned[/] [bold]{escape(str(out))}[/]: {out.stat().st_size} bytes")


def build_captions_request(
    script: str, duration: float, timings: Path | None, aspect: str, style: video_pb.Captions
) -> pb.CreateCaptionsRequest:
    """Build the request for captions. Raises `WrongRequest` when the aspect ratio is unknown."""
    if aspect not in ASPECT_RATIOS:
        raise WrongRequest(f"--aspect {aspect}: take one of {', '.join(ASPECT_RATIOS)}")
    width, height = ASPECT_RATIOS[aspect]
    sentences = read_timings(timings).sentences if timings is not None else ()
    return pb.CreateCaptionsRequest(
        script=script, duration=duration, sentences=sentences, style=style, width=width, height=height
    )


async def show_clip(clip: str, target: Target, console: Console) -> None:
    """Print the properties of a clip. Raises `WrongRequest` when there is no such file."""
    source = clip if "://" in clip or clip.startswith("ast_") else Path(clip).expanduser()
    if isinstance(source, Path) and not source.is_file():
        raise WrongRequest(f"there is no file {clip}")
    async with open_stage_client(target, console) as client:
        facts = await client.probe(source)
    console.print(f"[bold]{escape(clip)}[/]: {'; '.join(_describe(facts))}")


def _describe(facts: clips_pb.ClipFacts) -> list[str]:
    picture = f"{facts.width}x{facts.height}, {facts.video_codec}"
    length = "a still image" if facts.still else f"{facts.duration:.2f} s"
    rate = "" if facts.still else f" at {facts.frame_rate:g} frames a second"
    optional = {
        "mirrored": facts.mirrored,
        f"rotated by {facts.rotation} degrees": bool(facts.rotation),
        _HDR.get(facts.hdr, ""): bool(facts.hdr),
        "interlaced": facts.interlaced,
        "partly transparent": facts.transparent,
        f"sound: {facts.audio_codec or 'of an unknown codec'}": facts.has_audio,
        "no sound": not facts.has_audio and not facts.still,
        f"{len(facts.key_frames)} key frame{'s' if len(facts.key_frames) > 1 else ''}": bool(facts.key_frames),
    }
    return [
        length,
        f"{facts.file_size / 1e6:.2f} MB",
        picture + rate,
        *(text for text, applies in optional.items() if applies),
    ]


def _to_json(times: speech_pb.TimeSpeechResponse) -> str:
    return json_format.MessageToJson(times, preserving_proto_field_name=True, indent=1, ensure_ascii=False) + "\n"
