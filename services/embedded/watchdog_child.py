"""Watchdog child: ends the process that started it when that process stops responding.

    watchdog_child.py SECONDS SIGNAL

Its standard input receives a byte from each iteration of the parent's heartbeat. After SECONDS without one, it sends
SIGNAL, at which the parent writes its stacks to its log, and then SIGKILL. It runs isolated and without site packages.
"""

import os
import select
import signal
import sys
import time

PAUSE_SECONDS = 0.5
# The time for writing the stacks.
STACKS_SECONDS = 2.0


def wait_until_silent(limit_seconds: float) -> bool:
    """Wait until the parent has sent nothing for `limit_seconds`. Returns False when it has ended."""
    silent_seconds = 0.0
    while silent_seconds < limit_seconds:
        # Only the time in which this process runs counts: Ctrl-Z stops both, and so does a machine that sleeps.
        if select.select([0], [], [], PAUSE_SECONDS)[0]:
            if not os.read(0, 4096):
                return False
            silent_seconds = 0.0
        else:
            silent_seconds += PAUSE_SECONDS
    return True


def main() -> None:
    limit_seconds, number, parent = float(sys.argv[1]), int(sys.argv[2]), os.getppid()
    # A terminal sends Ctrl-C to this process, too. It ends with its parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not wait_until_silent(limit_seconds) or os.getppid() != parent:
        return
    os.kill(parent, number)
    os.kill(parent, signal.SIGCONT)
    time.sleep(STACKS_SECONDS)
    if os.getppid() == parent:
        os.kill(parent, signal.SIGKILL)
        print(
            f"error: the platform did not respond for {limit_seconds:g} s and was ended; its stacks are at the end of"
            " logs/services.log in its data folder; start it again",
            file=sys.stderr,
        )


main()
