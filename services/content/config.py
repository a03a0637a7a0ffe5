"""The knobs of the content service."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from services.runtime.config import PREFIX, Folders, Settings


class Config(Settings):
    """What the content service is told (`MONEYPRINTER_CONTENT_...`)."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}CONTENT_")

    caption_font: str = "Manrope ExtraBold"
    """The font of captions, by the name that the renderer finds it under."""
    fonts: Folders = ()
    """The folders with the font files that the renderer has, parted by colons: that font, and others for what it
    cannot show, those of one folder before those of the next. They must be those of the processing service. Without
    any, widths are estimated, and no character is known to be missing."""
    captions: int = 4
    """How many files of captions are made at once for the public, beside what jobs need, a quarter of them for one
    user; more are refused."""
