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
        scenes: Sequence[str] = ()
        if script_file is not None or edit:
            scripts = await _fetch_scripts(client, job_id)
            scenes = parse_scenes(text, len(scripts)) if script_file is not None else await _edit(scripts)
        status = await _approve(client, job_id, scenes)
    console.print(f"{escape(job_id)} is approved; it is expected at {status.estimated_completion}")


async def ask_for_approval(client: Client, job_id: str, console: Console) -> None:
    """Show the script of a job that waits for its review, and ask what to do with it, until that is done.

    Raises `PlatformError` when the input ends without a choice.
    """
    scripts = await _fetch_scripts(client, job_id)
    edited: Sequence[str] = ()
    while True:
        show_script(edited or scripts, console)
        console.print("[bold]Approve[/] this script (a), edit it (e), or cancel the job (c)? ", end="")
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
                edited = await _edit(edited or scripts)
            except WrongRequest as failure:
                console.print(f"[red]{escape(str(failure))}[/]")


def show_script(scripts: Sequence[str], console: Console) -> None:
    """Print the scenes of a script."""
    console.print()
    for number, script in enumerate(scripts, 1):
        heading = f"[bold]Scene {number}[/]  " if len(scripts) > 1 else ""
        console.print(f"{heading}{escape(script)}")
    console.print()


def format_scenes(scripts: Sequence[str]) -> str:
    """Return the text of scenes for an editor: several scenes have headings."""
    if len(scripts) == 1:
        return f"{scripts[0]}\n"
    return "\n".join(f"## Scene {number}\n{script}\n" for number, script in enumerate(scripts, 1))


def parse_scenes(text: str, count: int) -> list[str]:
    """Return the scenes of an edited text. Raises `WrongRequest` when there are not `count`."""
    parts = [text] if count == 1 else _HEADING.split(text)[1:]
    scripts = [part.strip() for part in parts]
    if len(scripts) != count or not all(scripts):
        raise WrongRequest(
            f"the script must have {count} scenes with text" + (", each below its heading `## Scene N`" * (count > 1))
        )
    return scripts


async def _fetch_scripts(client: Client, job_id: str) -> list[str]:
    video = (await client.videos.GetVideo(pb.GetVideoRequest(job_id=job_id))).video
    return [scene.script for scene in video.scenes]


async def _approve(client: Client, job_id: str, scripts: Sequence[str]) -> pb.GetVideoStatusResponse:
    scenes = [pb.Scene(script=script) for script in scripts]
    return (await client.videos.ApproveVideo(pb.ApproveVideoRequest(job_id=job_id, scenes=scenes))).status


async def _edit(scripts: Sequence[str]) -> Sequence[str]:
    """Open the scripts in the user's editor. Returns them as saved, unchanged when nothing was saved."""
    try:
        text = await asyncio.to_thread(click.edit, format_scenes(scripts), extension=".txt", require_save=True)
    except click.ClickException as failure:
        raise WrongRequest(f"{failure.format_message()}; set EDITOR to the command of an editor") from None
    return scripts if text is None else parse_scenes(text, len(scripts))


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
