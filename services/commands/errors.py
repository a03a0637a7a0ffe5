"""The error of commands that cannot be used as they were typed."""

from __future__ import annotations


class WrongRequest(Exception):
    """A command that cannot be carried out as it was typed; the message says why, in one line."""
