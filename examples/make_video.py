"""Make a video from clips and a script: upload the clips, create the video, follow its progress, download it.

    export MONEYPRINTER_TOKEN=$(moneyprinter token)
    python examples/make_video.py walk.mp4 sea.mp4 --script "A walk by the sea." --aspect 9:16 --out walk.mp4

The platform runs on this machine (`moneyprinter up`) unless --address names another one. A program that runs for
longer than a token is valid uses an API key instead: MONEYPRINTER_API_KEY.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from moneyprinter import errors
from moneyprinter.client import Client
from moneyprinter.video.v1 import video_service_pb2 as pb


async def make_video(options: argparse.Namespace) -> None:
    """Make the video that the options describe, and write it to `options.out`."""
    token, api_key = os.environ.get("MONEYPRINTER_TOKEN", ""), os.environ.get("MONEYPRINTER_API_KEY", "")
    async with Client(options.address, token=token, api_key=api_key) as client:
        request = pb.CreateVideoRequest(
            title=options.title,
            clips=[pb.Clip(asset_id=await client.upload(path)) for path in options.clips],
            audio=pb.Audio(script=options.script, background_music=options.music),
            settings=pb.Settings(aspect_ratio=options.aspect, resolution=options.resolution, quality=options.quality),
        )
        job = await client.videos.CreateVideo(request)
        print(f"Job {job.job_id}")
        async for update in client.watch(job.job_id):
            print(f"{update.status.progress:3} %", flush=True)
        if update.status.status != "completed":
            sys.exit(f"error: the job is {update.status.status}: {update.status.error.message}")
        size = await client.download(job.job_id, options.out)
        print(f"Wrote {options.out}, {size} bytes")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="a video or picture file")
    parser.add_argument("--script", required=True, help="the text that is spoken and shown as captions")
    parser.add_argument("--title", default="My video")
    parser.add_argument("--music", default="calm", help="upbeat, calm, dramatic, happy, dark or none")
    parser.add_argument("--aspect", default="16:9", help="for example 9:16")
    parser.add_argument("--resolution", default="1080p", help="for example 720p")
    parser.add_argument("--quality", default="high", help="draft, standard or high")
    parser.add_argument("--out", default="video.mp4", type=Path, help="the file to write")
    parser.add_argument("--address", default="127.0.0.1:8080", help="host:port of the platform's gateway")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        asyncio.run(make_video(parse_options()))
    except (errors.Error, OSError) as failure:
        sys.exit(f"error: {failure}")
