"""The knobs of the content service."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from services.runtime.config import PREFIX, Settings


class Config(Settings):
    """What the content service is told (`MONEYPRINTER_CONTENT_...`)."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}CONTENT_")

    caption_font: str = "Manrope ExtraBold"
    """The font of captions, by the name that the renderer finds it under."""
    fonts: Path | None = None
    """The folder with the font files that the renderer has: that font, and others for what it cannot show.
    Without it widths are estimated, and no character is known to be missing."""
