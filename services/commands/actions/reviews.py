"""Reviews in the terminal: shows the script of a job that waits, and approves, edits or cancels it."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from moneyprinter.client import Client
from moneyprinter.video.v1 import video_service_pb2 as pb
from services.commands.actions.request_files import read_script
from services.commands.actions.sessions import open_client
from services.commands.errors import WrongRequest
from services.commands.targets import Target
from services.embedded.errors import PlatformError

_HEADING = re.compile(r"^## Scene \d+[^\n]*$", re.MULTILINE)


async def approve_video(target: Target, job_id: str, script_file: Path | None, edit: bool, console: Console) -> None:
    """Approve a job that waits for a review, with the script of a file or of an editor.

    Raises `WrongRequest` when the edited script has another number of scenes.
    """
    text = read_script(script_file) if script_file is not None else ""
    async with open_client(target) as client:
        edited: Sequence[pb.Scene] = ()
        if script_file is not None or edit:
            scenes = await _fetch_scenes(client, job_id)
            edited = parse_scenes(text, scenes) if script_file is not None else await _edit(scenes)
        status = await _approve(client, job_id, edited)
    console.print(f"{escape(job_id)} is approved; it is expected at {status.estimated_completion}")


async def ask_for_approval(client: Client, job_id: str, console: Console) -> None:
    """Show the script of a job that waits for its review, and ask what to do with it, until that is done.

    Raises `PlatformError` when the input ends without a choice.
    """
    scenes = await _fetch_scenes(client, job_id)
    edited: Sequence[pb.Scene] = ()
    while True:
        show_scenes(edited or scenes, console)
        console.print("[bold]Approve[/] this (a), edit the script (e), or cancel the job (c)? ", end="")
        line = await _read_line()
        if not line:
            raise PlatformError(f"{job_id} waits for your review; approve it with: moneyprinter approve {job_id}")
        answer = line.strip().lower()
        if answer in ("a", "approve", "y", "yes"):
            await _approve(client, job_id, edited)
            return
        if answer in ("c", "cancel"):
            await client.videos.CancelVideo(pb.CancelVideoRequest(job_id=job_id))
            return
        if answer in ("e", "edit"):
            try:
                edited = await _edit(edited or scenes)
            except WrongRequest as failure:
                console.print(f"[red]{escape(str(failure))}[/]")


def show_scenes(scenes: Sequence[pb.Scene], console: Console) -> None:
    """Print the script of scenes, and the footage that was chosen for them."""
    console.print()
    for number, scene in enumerate(scenes, 1):
        heading = f"[bold]Scene {number}[/]  " if len(scenes) > 1 else ""
        console.print(f"{heading}{escape(scene.script)}")
        for cut in scene.cuts:
            author = f" by {cut.credit.author}" if cut.credit.author else ""
            shown = f"{cut.url}{author}" if cut.url else cut.asset_id or "an animated background"
            console.print(f"  {cut.duration:4.1f} s  {escape(shown)}")
    console.print()


def format_scenes(scenes: Sequence[pb.Scene]) -> str:
    """Return the script of scenes as a text for an editor: several scenes have headings."""
    if len(scenes) == 1:
        return f"{scenes[0].script}\n"
    return "\n".join(f"## Scene {number}\n{scene.script}\n" for number, scene in enumerate(scenes, 1))


def parse_scenes(text: str, scenes: Sequence[pb.Scene]) -> list[pb.Scene]:
    """Return scenes with the scripts of an edited text. Raises `WrongRequest` when it has another number of scenes."""
    count = len(scenes)
    parts = [text] if count == 1 else _HEADING.split(text)[1:]
    scripts = [part.strip() for part in parts]
    if len(scripts) != count or not all(scripts):
        raise WrongRequest(
            f"the script must have {count} scenes with text" + (", each below its heading `## Scene N`" * (count > 1))
        )
    edited = []
    for scene, script in zip(scenes, scripts, strict=True):
        edited.append(pb.Scene())
        edited[-1].CopyFrom(scene)
        edited[-1].script = script
    return edited


async def _fetch_scenes(client: Client, job_id: str) -> Sequence[pb.Scene]:
    return (await client.videos.GetVideo(pb.GetVideoRequest(job_id=job_id))).video.scenes


async def _approve(client: Client, job_id: str, scenes: Sequence[pb.Scene]) -> pb.GetVideoStatusResponse:
    return (await client.videos.ApproveVideo(pb.ApproveVideoRequest(job_id=job_id, scenes=scenes))).status


async def _edit(scenes: Sequence[pb.Scene]) -> Sequence[pb.Scene]:
    """Open the script of scenes in the user's editor. Returns the scenes as saved."""
    try:
        text = await asyncio.to_thread(click.edit, format_scenes(scenes), extension=".txt", require_save=True)
    except click.ClickException as failure:
        raise WrongRequest(f"{failure.format_message()}; set EDITOR to the command of an editor") from None
    return scenes if text is None else parse_scenes(text, scenes)


async def _read_line() -> str:
    """Read a line of the terminal; an empty text is the end of the input.

    In a daemon thread: an interrupted command ends although the thread still waits for input.
    """
    loop = asyncio.get_running_loop()
    line = loop.create_future()

    def deliver(text: str) -> None:
        if not line.done():
            line.set_result(text)

    def read() -> None:
        text = sys.stdin.readline()
        if not loop.is_closed():
            loop.call_soon_threadsafe(deliver, text)

    threading.Thread(target=read, daemon=True).start()
    text: str = await line
    return text
