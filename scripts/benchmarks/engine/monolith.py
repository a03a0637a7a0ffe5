"""The way of a monolith: MoviePy, frame by frame in Python, three lossy encodes. Run by a Python that has MoviePy.

Each clip is cut, fitted and encoded; all are joined and encoded; captions are laid over and all is encoded
again. It imports nothing of the platform, reads a task a line, and answers with what that took.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from moviepy import CompositeVideoClip, TextClip, VideoFileClip, concatenate_videoclips  # type: ignore[import-not-found]


def make(message: dict[str, Any], folder: Path) -> None:
    """Make a video."""
    size, rate = (message["width"], message["height"]), message["rate"]

    def write(clip: Any, path: Path) -> None:
        options = {"preset": message["preset"], "ffmpeg_params": ["-crf", str(message["crf"])], "threads": 2}
        clip.write_videofile(str(path), fps=rate, codec="libx264", audio=False, logger=None, **options)

    parts = []
    for place, shot in enumerate(message["shots"]):
        seconds = shot["frame_count"] / rate
        with VideoFileClip(shot["path"], audio=False) as source:
            clip = source.subclipped(shot["start_seconds"], shot["start_seconds"] + seconds)
            write(fit(clip, size, message["fit"]), folder / f"part{place}.mp4")
        parts.append(folder / f"part{place}.mp4")
    clips = [VideoFileClip(str(part), audio=False) for part in parts]
    write(concatenate_videoclips(clips), folder / "joined.mp4")
    for clip in clips:
        clip.close()
    with VideoFileClip(str(folder / "joined.mp4"), audio=False) as joined:
        step = message["caption_seconds"]
        captions = [
            TextClip(text=text, font=message["font"], font_size=72, color="white", stroke_color="black", stroke_width=4)
            .with_start(step * place)
            .with_duration(step)
            .with_position(("center", size[1] - 220))
            for place, text in enumerate(message["captions"])
        ]
        final = CompositeVideoClip([joined, *captions]) if captions else joined
        write(final.with_duration(joined.duration), Path(message["out"]))


def fit(clip: Any, size: tuple[int, int], how: str) -> Any:
    """Fill a canvas with a clip."""
    width, height = size
    if how == "cover":
        w, h = min(clip.w, clip.h * width / height), min(clip.h, clip.w * height / width)
        return clip.cropped(x_center=clip.w / 2, y_center=clip.h / 2, width=int(w), height=int(h)).resized(size)
    scale = min(width / clip.w, height / clip.h)
    inside = clip.resized((int(clip.w * scale) // 2 * 2, int(clip.h * scale) // 2 * 2))
    return CompositeVideoClip([inside.with_position("center")], size=size)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its children."""
    usages = [resource.getrusage(kind) for kind in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    print("{}", flush=True)
    for line in sys.stdin:
        began, cpu = time.monotonic(), cpu_seconds()
        make(json.loads(line), Path(sys.argv[1]))
        print(json.dumps({"wall": time.monotonic() - began, "cpu": cpu_seconds() - cpu}), flush=True)


if __name__ == "__main__":
    main()
