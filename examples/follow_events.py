"""Follow events: keep a ledger of videos that ended, each once, whatever dies meanwhile.

    MONEYPRINTER_API_KEY=... python examples/follow_events.py 127.0.0.1:8080 ledger.jsonl

Run it, kill it, run it again: it continues where it stopped. The platform stores the position of the consumer `ledger`.
An event that was written but not acknowledged when the program died arrives again, and is recognised by its id.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

from google.protobuf import json_format

from moneyprinter import errors
from moneyprinter.client import Client

ENDED = {"video.processing.completed", "video.processing.failed", "video.processing.cancelled"}


async def follow(address: str, ledger: Path) -> None:
    """Write every event that ends a video to a file of JSON lines, each once."""
    written = {json.loads(line)["event_id"] for line in ledger.read_text().splitlines()} if ledger.exists() else set()
    async with Client(address, api_key=os.environ["MONEYPRINTER_API_KEY"]) as client:
        with ledger.open("a") as file:
            # Asking for the next event acknowledges the one before: by then it is on disk.
            async for event in client.events("ledger"):
                if event.event_type in ENDED and event.event_id not in written:
                    line = {
                        "event_id": event.event_id,
                        "job_id": event.job_id,
                        "outcome": event.event_type.rpartition(".")[2],
                        "details": json_format.MessageToDict(event.payload),
                    }
                    file.write(json.dumps(line) + "\n")
                    file.flush()
                    await asyncio.to_thread(os.fsync, file.fileno())
                    written.add(event.event_id)


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="host:port of the platform's gateway")
    parser.add_argument("ledger", type=Path, help="the file of JSON lines to append to")
    options = parser.parse_args()
    if not os.environ.get("MONEYPRINTER_API_KEY"):
        parser.error("set MONEYPRINTER_API_KEY")
    return options


if __name__ == "__main__":
    try:
        options = parse_options()
        asyncio.run(follow(options.address, options.ledger))
    except (errors.Error, OSError) as failure:
        sys.exit(f"error: {failure}")
