"""Voices from the command line: the list, and samples."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moneyprinter.audio.v1 import speech_service_pb2 as pb
from services.commands.actions.stages import open_stage_client, output_format
from services.commands.targets import Target


async def show_voices(request: pb.ListVoicesRequest, target: Target, console: Console) -> None:
    """Print the voices that match a request."""
    async with open_stage_client(target, console) as client:
        voices = (await client.speech.ListVoices(request)).voices
    table = Table("voice", "language", "gender", "style", "provider", "quality")
    for voice in voices:
        cells = (voice.name, voice.language, voice.gender, voice.style, voice.provider, voice.quality)
        table.add_row(*map(escape, cells))
    wanted = " ".join(filter(None, (request.gender, request.language, request.provider)))
    console.print(table if voices else f"There is no voice for {escape(wanted)}.")


async def write_sample(voice: str, out: Path, target: Target, console: Console) -> None:
    """Write a sample of a voice to a file. Raises `WrongRequest` when the file is not writable, or no MP3 by name."""
    output_format(out, {".mp3": "mp3"})
    async with open_stage_client(target, console) as client:
        size = await client.save_sample(voice, out)
    console.print(f"[bold green]Wrote[/] [bold]{escape(str(out))}[/]: {escape(voice)}, {size / 1e3:.0f} kB")
