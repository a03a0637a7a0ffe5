"""Errors of the laptop platform."""

from __future__ import annotations


class PlatformError(Exception):
    """The platform cannot start or continue. The message states the cause and the remedy, in one line."""


class AlreadyRunning(PlatformError):
    """Another platform already runs on the data folder."""
