"""Errors of the laptop platform: why it cannot start or go on."""

from __future__ import annotations


class PlatformError(Exception):
    """The platform cannot start or go on; the message says why and what to do, in one line."""


class AlreadyRunning(PlatformError):
    """Another platform runs on the data folder."""
