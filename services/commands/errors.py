"""The error of a command with wrong arguments."""

from __future__ import annotations


class WrongRequest(Exception):
    """The arguments of a command, or a file that they name, are wrong. The message states why, in one line."""
