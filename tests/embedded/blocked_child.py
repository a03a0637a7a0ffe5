"""Blocked child: runs the command line; at SIGUSR2, a regular expression blocks its interpreter for ever.

Like `python -m services.cli`; `blocked_child.py --heart SECONDS FILE` runs only an event loop with a watchdog.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from pathlib import Path


def block_interpreter(*_: object) -> None:
    """Match with exponential time. It keeps the interpreter lock, so that no other thread runs."""
    re.match(r"(a+)+$", "a" * 60 + "b")


async def run_heart(limit_seconds: float, log_file: Path) -> None:
    """Run a watchdog, and print a line whenever one comes."""
    from services.embedded.watchdog import run_watchdog

    async with run_watchdog(log_file, limit_seconds):
        print("ready", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print("beats", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, block_interpreter)
    if sys.argv[1] == "--heart":
        asyncio.run(run_heart(float(sys.argv[2]), Path(sys.argv[3])))
    else:
        from services.cli import main

        main()
