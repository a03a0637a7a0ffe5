"""Saves the files of a finished video beside each other on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from moneyprinter.client import Client
from moneyprinter.video.v1 import video_service_pb2 as pb

# One format of timed captions is enough: players and editors read SRT.
_SKIPPED = ("captions.vtt", "captions.ass", "thumbnails.jpg", "thumbnails.vtt")


@dataclass(frozen=True)
class SavedVideo:
    """A saved video, and the size of its main file."""

    video: pb.Video
    size_bytes: int


async def save_files(
    client: Client, job_id: str, out: Path, console: Console, *, only_video: bool = False
) -> SavedVideo:
    """Save a finished video as `out`, and its captions, poster, renditions and animation beside it.

    When `out` is new, an existing file beside it is not of an earlier run and stays unchanged.
    """
    video = (await client.videos.GetVideo(pb.GetVideoRequest(job_id=job_id))).video
    replaces = out.exists()
    main = next(file.name for file in video.files if Path(file.name).stem == "video")
    with console.status(f"Downloading {escape(out.name)} ..."):
        size = await client.download(job_id, out, main)
        beside = [file.name for file in video.files if file.name != main and file.name not in _SKIPPED]
        for name in [] if only_video else beside:
            path = out.with_name(sibling_name(out.stem, name))
            if path.exists() and not replaces:
                console.print(f"[yellow]Kept[/] {escape(str(path))}, which already existed; {name} is not saved")
                continue
            await client.download(job_id, path, name)
            console.print(f"Saved {escape(str(path))}")
    if video.missing_glyphs:
        console.print(f"[yellow]No font has[/] {escape(video.missing_glyphs)}: left out of the video")
    for notice in video.notices:
        console.print(f"[yellow]Note:[/] {escape(notice.message)}")
    return SavedVideo(video, size)


def sibling_name(stem: str, name: str) -> str:
    """Return the name of a file beside the video: `walk.srt`, `walk-poster.jpg`, `walk-480p.mp4`."""
    if name.startswith("captions."):
        return stem + name.removeprefix("captions")
    return f"{stem}-{name.removeprefix('video-')}"
