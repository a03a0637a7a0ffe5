"""Stages: what goes into a video, had by itself from the command line: speech, a script, captions, a look at a clip."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from google.protobuf import json_format
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moneyprinter.audio.v1 import speech_service_pb2 as speech_pb
from moneyprinter.client import Client
from moneyprinter.content.v1 import writing_service_pb2 as pb
from moneyprinter.video.v1 import clip_service_pb2 as clips_pb
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from services.commands.errors import WrongRequest
from services.commands.make import any_platform
from services.commands.request_files import check_writable, read_script
from services.commands.sessions import signed_in
from services.commands.targets import Target

SOUNDS = {".wav": "wav", ".mp3": "mp3", ".opus": "opus", ".ogg": "opus", ".flac": "flac"}
CAPTIONS = {".srt": "srt", ".vtt": "vtt", ".ass": "ass"}
SHAPES = {"16:9": (1920, 1080), "9:16": (1080, 1920), "1:1": (1080, 1080), "4:5": (1080, 1350), "21:9": (2520, 1080)}
_HDR = {"pq": "HDR (PQ)", "hlg": "HDR (HLG)"}


@asynccontextmanager
async def platform(target: Target, console: Console) -> AsyncIterator[Client]:
    """A client of the platform on a data folder, which is started for it when none runs."""
    async with any_platform(target, console), signed_in(target) as client:
        yield client


def text_of(text: str | None, file: Path | None) -> str:
    """The text that is given, or that is in the file."""
    if (text is None) == (file is None):
        raise WrongRequest("give either TEXT or --text-file")
    return read_script(file) if file is not None else text or ""


def form_of(out: Path, forms: dict[str, str]) -> str:
    """The form of a file by its name, once it can be written."""
    check_writable(out)
    if out.suffix.lower() not in forms:
        raise WrongRequest(f"{out.name} must end with one of {', '.join(forms)}")
    return forms[out.suffix.lower()]


async def say(text: str, voice: str, out: Path, timings: Path | None, target: Target, console: Console) -> None:
    """Write the sound of a text, and the times of its words."""
    form = form_of(out, SOUNDS)
    if timings is not None:
        form_of(timings, {".json": "json"})
    async with platform(target, console) as client:
        times, size = await asyncio.gather(
            client.word_times(text, voice=voice), client.say(text, out, voice=voice, format=form)
        )
    words = sum(len(sentence.words) for sentence in times.sentences)
    if timings is not None:
        timings.write_text(_json(times))
    console.print(
        f"[bold green]Said[/] [bold]{escape(str(out))}[/]: {times.duration:.1f} s, {words} words, {size / 1e3:.0f} kB"
    )
    for notice in times.notices:
        console.print(f"[yellow]Note:[/] {escape(notice.message)}")


async def show_voices(language: str, target: Target, console: Console) -> None:
    """Print the voices of a language, or of all."""
    async with platform(target, console) as client:
        found = (await client.speech.ListVoices(speech_pb.ListVoicesRequest(language=language))).voices
    table = Table("voice", "language", "provider", "quality")
    for voice in found:
        table.add_row(escape(voice.name), voice.language, voice.provider, voice.quality)
    console.print(table if found else f"There is no voice for {escape(language)}.")


async def write_script(
    topic: str, language: str, length: int, out: Path | None, target: Target, console: Console
) -> None:
    """Print a script, or write it into a file."""
    if out is not None:
        check_writable(out)
    async with platform(target, console) as client:
        written = await client.write_script(topic, language=language, length=length)
    if out is None:
        console.print(escape(written.script))
        return
    out.write_text(f"{written.script}\n", encoding="utf-8")
    console.print(f"[bold green]Wrote[/] [bold]{escape(str(out))}[/]: {len(written.sentences)} sentences")


def read_timings(file: Path) -> speech_pb.TimeSpeechResponse:
    """The times of words in a file, as `say` wrote them."""
    try:
        return json_format.Parse(read_script(file), speech_pb.TimeSpeechResponse())
    except json_format.ParseError as failure:
        raise WrongRequest(f"{file} holds no times of words: {failure}") from None


async def make_captions(
    request: pb.CreateCaptionsRequest, voice: str, out: Path, target: Target, console: Console
) -> None:
    """Write a file of captions; a script without a duration gets the times of its words from a voice."""
    request.format = form_of(out, CAPTIONS)
    async with platform(target, console) as client:
        if request.script and not request.duration:
            times = await client.word_times(request.script, voice=voice)
            request.sentences.extend(times.sentences)
            request.script = ""
        await client.make_captions(request, out)
    console.print(f"[bold green]Captioned[/] [bold]{escape(str(out))}[/]: {out.stat().st_size} bytes")


def captions_request(
    script: str, duration: float, timings: Path | None, shape: str, style: video_pb.Captions
) -> pb.CreateCaptionsRequest:
    """What is asked for when captions are. Raises WrongRequest."""
    if shape not in SHAPES:
        raise WrongRequest(f"--aspect {shape}: take one of {', '.join(SHAPES)}")
    width, height = SHAPES[shape]
    sentences = read_timings(timings).sentences if timings is not None else ()
    return pb.CreateCaptionsRequest(
        script=script, duration=duration, sentences=sentences, style=style, width=width, height=height
    )


async def probe(clip: str, target: Target, console: Console) -> None:
    """Print what a clip is."""
    source = clip if "://" in clip or clip.startswith("ast_") else Path(clip).expanduser()
    if isinstance(source, Path) and not source.is_file():
        raise WrongRequest(f"there is no file {clip}")
    async with platform(target, console) as client:
        facts = await client.probe(source)
    console.print(f"[bold]{escape(clip)}[/]: {'; '.join(_words(facts))}")


def _words(facts: clips_pb.ClipFacts) -> list[str]:
    picture = f"{facts.width}x{facts.height}, {facts.video_codec}"
    length = "a still picture" if facts.still else f"{facts.duration:.2f} s"
    rate = "" if facts.still else f" at {facts.frame_rate:g} frames a second"
    more = {
        "mirrored": facts.mirrored,
        f"turned by {facts.rotation} degrees": bool(facts.rotation),
        _HDR.get(facts.hdr, ""): bool(facts.hdr),
        "interlaced": facts.interlaced,
        "partly transparent": facts.transparent,
        f"sound: {facts.audio_codec or 'of an unknown codec'}": facts.has_audio,
        "no sound": not facts.has_audio and not facts.still,
        f"{len(facts.key_frames)} key frame{'s' if len(facts.key_frames) > 1 else ''}": bool(facts.key_frames),
    }
    return [length, f"{facts.file_size / 1e6:.2f} MB", picture + rate, *(words for words, true in more.items() if true)]


def _json(times: speech_pb.TimeSpeechResponse) -> str:
    return json_format.MessageToJson(times, preserving_proto_field_name=True, indent=1, ensure_ascii=False) + "\n"
