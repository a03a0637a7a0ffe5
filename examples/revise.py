"""Revise a video: make it again with some fields changed, and reuse every segment that the changes do not affect.

    export MONEYPRINTER_TOKEN=$(moneyprinter token)
    python examples/revise.py vid_12345abc '{"captions": {"position": "top"}}' --out better.mp4

The changes are a part of the body of `POST /v1/videos`, as JSON. `clips` and `overlays` replace those of the job as a
whole; of `audio`, `settings` and `captions` only the named fields change. The revised video is a new job.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

from moneyprinter import errors
from moneyprinter.client import Client
from moneyprinter.video.v1 import video_service_pb2 as pb


async def revise(options: argparse.Namespace) -> None:
    """Make the video of `options.job` again, and write it to `options.out`."""
    token, api_key = os.environ.get("MONEYPRINTER_TOKEN", ""), os.environ.get("MONEYPRINTER_API_KEY", "")
    async with Client(options.address, token=token, api_key=api_key) as client:
        request = pb.ReviseVideoRequest(job_id=options.job)
        request.changes.update(options.changes)
        job = await client.videos.ReviseVideo(request)
        print(f"Job {job.job_id}", flush=True)
        async for update in client.watch(job.job_id):
            print(f"{update.status.progress:3} %", flush=True)
        if update.status.status != "completed":
            sys.exit(f"error: the job is {update.status.status}: {update.status.error.message}")
        await client.download(job.job_id, options.out)
        print(f"Wrote {options.out}; reused {update.segments.reused} of {update.segments.total} segments")


def parse_changes(text: str) -> dict[str, object]:
    """Parse the changes, a JSON object."""
    changes = json.loads(text)
    if not isinstance(changes, dict):
        raise ValueError("not a JSON object")
    return changes


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", help="the job to revise")
    parser.add_argument("changes", type=parse_changes, help="the changed fields, as a JSON object")
    parser.add_argument("--out", default="revised.mp4", type=Path, help="the file to write")
    parser.add_argument("--address", default="127.0.0.1:8080", help="host:port of the platform's gateway")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        asyncio.run(revise(parse_options()))
    except (errors.Error, OSError) as failure:
        sys.exit(f"error: {failure}")
