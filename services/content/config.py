"""The settings of the content service."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from services.runtime.config import PREFIX, Folders, Settings


class Config(Settings):
    """The settings of the content service (`MONEYPRINTER_CONTENT_...`)."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}CONTENT_")

    caption_font: str = "Manrope ExtraBold"
    """The default font of captions, by the name under which libass finds it."""
    fonts: Folders = ()
    """The font folders, separated by colons: they hold the default font, and substitutes for characters that it lacks;
    earlier folders take precedence. They must be the folders of the processing service. Without any, widths are
    estimated, and no character counts as missing."""
    max_caption_calls: int = 4
    """The most caption files that are made at once for public calls, a quarter of them for one user; further calls are
    refused. Calls of jobs do not count."""
