"""Reviews in the terminal: shows what waits for its owner, and approves, edits or cancels it."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from moneyprinter.client import Client
from moneyprinter.content.v1 import footage_search_service_pb2 as footage_pb
from moneyprinter.errors import Error
from moneyprinter.video.v1 import video_service_pb2 as pb
from services.commands.actions.clip_choice import (
    describe_cut,
    find_cut,
    number_cuts,
    replace_clip,
    search_clips,
    search_terms,
)
from services.commands.actions.request_files import read_script
from services.commands.actions.scene_texts import format_scenes, parse_scenes
from services.commands.actions.sessions import open_client
from services.commands.errors import WrongRequest
from services.commands.targets import Target
from services.embedded.errors import PlatformError

_REPLACE = re.compile(r"r(?:eplace)? +(?P<number>\d+)", re.IGNORECASE)
_SEARCH = re.compile(r"s(?:earch)? +(?P<terms>.+?) +for +(?P<number>\d+)", re.IGNORECASE)


async def approve_video(target: Target, job_id: str, script_file: Path | None, edit: bool, console: Console) -> None:
    """Approve a job that waits for a review, with the script of a file or of an editor.

    Raises `WrongRequest` when the edited script has another number of scenes.
    """
    text = read_script(script_file) if script_file is not None else ""
    async with open_client(target) as client:
        review = await _Review.fetch(client, job_id, console)
        if script_file is not None:
            review.edited = parse_scenes(text, review.scenes)
        elif edit:
            await review.edit()
        status = await review.approve()
    console.print(f"{escape(job_id)} is approved; it is expected at {status.estimated_completion}")


async def ask_for_approval(client: Client, job_id: str, console: Console, orientation: str = "") -> None:
    """Show what waits for the review of a job's owner, and ask what to do with it, until that is done.

    `orientation` is that of the video, for other clips. Raises `PlatformError` when the input ends without a choice.
    """
    review = await _Review.fetch(client, job_id, console)
    review.orientation = orientation
    show_scenes(review.current, console)
    while True:
        line = await review.read_choice()
        match line.lower().split():
            case ["a" | "approve" | "y" | "yes"]:
                await review.approve()
                return
            case ["c" | "cancel"]:
                await client.videos.CancelVideo(pb.CancelVideoRequest(job_id=job_id))
                return
        try:
            is_changed = await review.change(line)
        except (WrongRequest, Error) as failure:
            console.print(f"[red]{escape(str(failure))}[/]")
        else:
            if is_changed:
                show_scenes(review.current, console)


def show_scenes(scenes: Sequence[pb.Scene], console: Console) -> None:
    """Print the scripts of scenes, their titles and search terms, and the numbered clips that were chosen for them."""
    console.print()
    scenes = list(scenes)
    cuts = list(number_cuts(scenes))
    for number, scene in enumerate(scenes, 1):
        title = f": {escape(scene.title)}" if scene.title else ""
        terms = f"  [dim]{escape(', '.join(scene.search_terms))}[/]" if scene.search_terms else ""
        if len(scenes) > 1 or title or terms:
            console.print(f"[bold]Scene {number}{title}[/]{terms}")
        console.print(escape(scene.script))
        for cut_number, owner, cut in cuts:
            if owner is scene:
                console.print(f"  {cut_number:2}. {escape(describe_cut(cut))}")
        if scene.search_terms and cuts and not scene.cuts:
            console.print("      other clips, by the new terms")
    console.print()


@dataclass
class _Review:
    """The scenes of a job that waits, and the edits so far."""

    client: Client
    job_id: str
    console: Console
    scenes: Sequence[pb.Scene]
    version: str
    orientation: str = ""
    edited: Sequence[pb.Scene] = ()
    rejected: set[str] = field(default_factory=set)
    """The ids of clips that were replaced."""

    @classmethod
    async def fetch(cls, client: Client, job_id: str, console: Console) -> _Review:
        video = (await client.videos.GetVideo(pb.GetVideoRequest(job_id=job_id))).video
        return cls(client, job_id, console, list(video.scenes), video.review.version)

    @property
    def current(self) -> Sequence[pb.Scene]:
        return self.edited or self.scenes

    async def approve(self) -> pb.GetVideoStatusResponse:
        request = pb.ApproveVideoRequest(job_id=self.job_id, scenes=self.edited, version=self.version)
        return (await self.client.videos.ApproveVideo(request)).status

    async def read_choice(self) -> str:
        clips = ", replace a clip (r 2), search for one (s TERMS for 2)" if any(number_cuts(self.current)) else ""
        self.console.print(f"[bold]Approve[/] this (a), edit the script (e){clips}, or cancel the job (c)? ", end="")
        if line := await _read_line():
            return line.strip()
        raise PlatformError(f"{self.job_id} waits for your review; approve it with: moneyprinter approve {self.job_id}")

    async def change(self, line: str) -> bool:
        """Do what a line asks for; returns whether scenes changed. Raises `WrongRequest` and errors of calls."""
        if line.lower() in ("e", "edit"):
            await self.edit()
            return True
        if wanted := _REPLACE.fullmatch(line):
            return await self._replace(int(wanted["number"]))
        if wanted := _SEARCH.fullmatch(line):
            return await self._search(wanted["terms"], int(wanted["number"]))
        if line:
            self.console.print(f"[yellow]{escape(line)}[/] is none of the choices")
        return False

    async def edit(self) -> None:
        """Open the scenes in the user's editor."""
        try:
            text = await asyncio.to_thread(click.edit, format_scenes(self.current), extension=".txt", require_save=True)
        except click.ClickException as failure:
            raise WrongRequest(f"{failure.format_message()}; set EDITOR to the command of an editor") from None
        if text is not None:
            self.edited = parse_scenes(text, self.current)

    async def _replace(self, number: int) -> bool:
        scene, cut = find_cut(self.current, number)
        for terms in search_terms(scene, cut):
            found = await search_clips(self.client, terms, self.current, cut, self.orientation, self.rejected)
            if found:
                self._show_instead(number, found[0], terms)
                return True
        raise WrongRequest(f"no other clip was found for {number}; search with other words: s TERMS for {number}")

    async def _search(self, terms: str, number: int) -> bool:
        _, cut = find_cut(self.current, number)
        found = await search_clips(self.client, terms, self.current, cut, self.orientation, self.rejected)
        if not found:
            raise WrongRequest(f"no clip of {cut.duration:.1f} seconds shows {terms}; try fewer words")
        for place, clip in enumerate(found, 1):
            by = f" by {clip.author}" if clip.author else ""
            self.console.print(
                f"  {place:2}. {clip.seconds:4.0f} s  {escape(clip.id)}{escape(by)}  {escape(clip.page_url)}"
            )
        self.console.print(f"Which one for clip {number} (1 to {len(found)}, or none)? ", end="")
        answer = (await _read_line()).strip()
        if not answer.isdecimal() or not 0 < int(answer) <= len(found):
            return False
        self._show_instead(number, found[int(answer) - 1], terms)
        return True

    def _show_instead(self, number: int, clip: footage_pb.FootageClip, terms: str) -> None:
        self.edited = [_copy(scene) for scene in self.current]
        _, cut = find_cut(self.edited, number)
        if cut.id:
            self.rejected.add(cut.id)
        replace_clip(cut, clip, terms)


def _copy(scene: pb.Scene) -> pb.Scene:
    copied = pb.Scene()
    copied.CopyFrom(scene)
    return copied


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
