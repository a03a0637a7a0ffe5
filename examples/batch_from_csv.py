"""Make a video for each row of a CSV file with the columns `title`, `clip` and `script`.

    export MONEYPRINTER_API_KEY=mpk_...
    python examples/batch_from_csv.py videos.csv --out-folder videos

The columns `aspect`, `resolution`, `quality` and `music` are optional. Rows whose video exists already are skipped, so
a run that was interrupted continues. The exit code is 1 when a row failed; the other rows are made all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import sys
from pathlib import Path

from moneyprinter import errors
from moneyprinter.client import Client
from moneyprinter.video.v1 import video_service_pb2 as pb


async def make_row(client: Client, row: dict[str, str], base: Path, out: Path) -> str:
    """Make the video of one row, write it to `out`, and return what became of it. Clips are relative to `base`."""
    if out.exists():
        return "exists"
    try:
        request = pb.CreateVideoRequest(
            title=row["title"],
            clips=[pb.Clip(asset_id=await client.upload(base / row["clip"]))],
            audio=pb.Audio(script=row["script"], background_music=row.get("music") or ""),
            settings=pb.Settings(
                aspect_ratio=row.get("aspect") or "",
                resolution=row.get("resolution") or "",
                quality=row.get("quality") or "",
            ),
        )
        job = await client.videos.CreateVideo(request)
        async for update in client.watch(job.job_id):
            status = update.status
        if status.status != "completed":
            return f"{status.status}: {status.error.message}"
        await client.download(job.job_id, out)
        return "made"
    except (errors.Error, OSError) as failure:
        return f"failed: {failure}"


async def make_all(options: argparse.Namespace) -> int:
    """Make all videos, `options.at_once` at a time; the number of rows that failed."""
    with options.file.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if missing := [column for column in ("title", "clip", "script") if any(row.get(column) is None for row in rows)]:
        sys.exit(f"error: {options.file} lacks {', '.join(missing)}")
    options.out_folder.mkdir(parents=True, exist_ok=True)
    limit = asyncio.Semaphore(options.at_once)
    token, api_key = os.environ.get("MONEYPRINTER_TOKEN", ""), os.environ.get("MONEYPRINTER_API_KEY", "")

    async with Client(options.address, token=token, api_key=api_key) as client:

        async def make(number: int, row: dict[str, str]) -> bool:
            async with limit:
                out = options.out_folder / f"{number:03}.mp4"
                result = await make_row(client, row, options.file.parent, out)
                print(f"row {number}, {row['title']}: {result}", flush=True)
                return result not in {"made", "exists"}

        return sum(await asyncio.gather(*(make(number, row) for number, row in enumerate(rows, 1))))


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE.csv")
    parser.add_argument("--out-folder", default="videos", type=Path, help="where 001.mp4, 002.mp4, ... are written")
    parser.add_argument("--at-once", default=2, type=int, help="how many videos are in work at the same time")
    parser.add_argument("--address", default="127.0.0.1:8080", help="host:port of the platform's gateway")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(1 if asyncio.run(make_all(parse_options())) else 0)
    except (errors.Error, OSError) as failure:
        sys.exit(f"error: {failure}")
