"""The entry point of the command `moneyprinter`: ends it without a traceback when Ctrl-C comes while libraries load."""

import sys

# The exit code of a command that SIGINT ended, by the convention of shells.
INTERRUPTED = 130


def main() -> None:
    """Load and run the command, and exit with its code."""
    try:
        from services.cli import main as run_command

        run_command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
