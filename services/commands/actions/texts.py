"""Texts from the command line: scripts, translations, and the texts under which a video is published."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console
from rich.markup import escape

from moneyprinter.content.v1 import writing_service_pb2 as pb
from moneyprinter.media.v1 import media_pb2
from services.commands.actions.request_files import check_writable, read_script
from services.commands.actions.stages import open_stage_client
from services.commands.targets import Target

_CAPTIONS = (".srt", ".vtt")


async def write_script(
    request: pb.CreateScriptRequest, out: Path | None, show_scenes: bool, target: Target, console: Console
) -> None:
    """Write a script to a file, as JSON with its scenes if the name ends with `.json`, or print it."""
    if out is not None:
        check_writable(out)
    async with open_stage_client(target, console) as client:
        response = await client.writing.CreateScript(request)
    if out is not None:
        _write(out, response, response.script)
        console.print(f"[bold green]Wrote[/] [bold]{escape(str(out))}[/]: {len(response.sentences)} sentences")
    elif show_scenes:
        for number, scene in enumerate(response.scenes, 1):
            console.print(f"[bold]{number}. {escape(scene.title)}[/] [dim]{escape(', '.join(scene.search_terms))}[/]")
            console.print(escape(" ".join(scene.sentences)))
    else:
        console.print(escape(response.script))
    _print_notices(response.notices, console)


async def translate_file(file: Path, language: str, out: Path | None, target: Target, console: Console) -> None:
    """Translate a file with a script or with captions to a file, by default beside it: `story.de.txt`."""
    text = read_script(file)
    written = out or file.with_suffix(f".{language}{file.suffix}")
    check_writable(written)
    request = pb.TranslateScriptRequest(language=language)
    if file.suffix.lower() in _CAPTIONS:
        request.captions = text
    else:
        request.script = text
    async with open_stage_client(target, console) as client:
        response = await client.writing.TranslateScript(request)
    _write(written, response, response.captions or response.script)
    console.print(f"[bold green]Translated[/] [bold]{escape(str(written))}[/], by {escape(response.writer)}")
    _print_notices(response.notices, console)


async def write_metadata(request: pb.CreateMetadataRequest, out: Path | None, target: Target, console: Console) -> None:
    """Write title, description and hashtags for each platform to a JSON file, or print them."""
    if out is not None:
        check_writable(out)
    async with open_stage_client(target, console) as client:
        response = await client.writing.CreateMetadata(request)
    if out is not None:
        _write(out, response, "")
        console.print(f"[bold green]Wrote[/] [bold]{escape(str(out))}[/]")
    else:
        for each in response.platforms:
            console.print(f"[bold]{each.platform}[/]\n{escape(each.title)}\n{escape(each.description)}")
            console.print(escape(" ".join(f"#{tag}" for tag in each.hashtags)) + "\n")
    _print_notices(response.notices, console)


def _write(out: Path, response: Message, text: str) -> None:
    if out.suffix.lower() == ".json" or not text:
        text = json_format.MessageToJson(response, preserving_proto_field_name=True, ensure_ascii=False)
    out.write_text(f"{text.rstrip()}\n", encoding="utf-8")


def _print_notices(notices: Iterable[media_pb2.Notice], console: Console) -> None:
    for notice in notices:
        console.print(f"[yellow]Note:[/] {escape(notice.message)}")
