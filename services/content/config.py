"""The settings of the content service."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from services.content.moderation.policy import DEFAULT_POLICY, Action, Category, parse_policy
from services.content.writers.presets import CHARACTER_AI, DEFAULT_ORDER, WRITERS
from services.runtime.config import PREFIX, Folders, Settings


def _parse_policy(value: object) -> object:
    return parse_policy(value) if isinstance(value, str) else value


def _parse_hashes(value: object) -> object:
    if not isinstance(value, str):
        return value
    hashes = [part.strip().lower() for part in value.split(",") if part.strip()]
    if any(not re.fullmatch("[0-9a-f]{64}", each) for each in hashes):
        raise ValueError("give the SHA-256 of texts in hexadecimal, separated by commas")
    return hashes


Policy = Annotated[Mapping[Category, Action], NoDecode, BeforeValidator(_parse_policy)]
"""A setting of actions by category: `hate=refuse,sexual=flag`."""
Hashes = Annotated[frozenset[str], NoDecode, BeforeValidator(_parse_hashes)]
"""A setting of SHA-256 digests, separated by commas."""


def _names(value: object) -> object:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def _check_writers(names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in WRITERS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no writer; those are {', '.join(WRITERS)}")
    if CHARACTER_AI in names[:-1]:
        raise ValueError(f"{CHARACTER_AI} is unofficial, and must be the last writer")
    return tuple(dict.fromkeys(names))


Writers = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names), AfterValidator(_check_writers)]
"""A setting of writers in order, separated by commas."""


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
    moderation_policy: Policy = DEFAULT_POLICY
    """What happens with texts of a category: `allow`, `flag` (a notice) or `refuse`, for example
    `hate=refuse,sexual=flag`. Categories that are not named keep their default: `sexual_minors` is refused, `hate`,
    `harassment`, `self_harm` and `illicit` are flagged, `sexual` and `violence` are allowed."""
    moderation_allowed: Hashes = frozenset()
    """Texts that an administrator allows whatever the policy is: the SHA-256 digests that refusals name."""
    max_script_calls: int = 8
    """The most scripts, translations and descriptions that are written at once for public calls, a quarter of them for
    one user."""
    writers: Writers = DEFAULT_ORDER
    """The providers that write scripts, in order, separated by commas. Those without credentials are left out; without
    any, scripts come from templates, and no text leaves the machine."""
    writer_timeout_seconds: float = Field(60.0, gt=0, le=100)
    """The limit of each call of a writer. All writers together have 100 seconds for a script."""
    provider_prices: Mapping[str, float] = Field(default_factory=dict)
    """The prices of writers per million tokens, as JSON: `{"openai/input_tokens": 0.4, "openai/output_tokens": 1.6}`.
    They only serve to show the cost of a job."""
    providers_file: Path | None = None
    """A file with the credentials of providers, which is read where the config service has no secret
    `content/providers`: `{"openai": {"keys": ["..."], "model": "..."}}`."""
    footage_order: tuple[Literal["pexels", "pixabay", "coverr"], ...] = ("pexels", "pixabay", "coverr")
    """The order of the providers of footage, as JSON. Those without a key, and those that are not named, are left
    out."""
    footage_hosts: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """For a provider of footage, the only hosts from which its files are downloaded, as JSON, in place of the usual
    ones: `{"pexels": ["videos.pexels.com"]}`. Another port than 443 is a part of the host: `files.example.com:8443`."""
    footage_timeout_seconds: float = Field(10.0, gt=0, le=60)
    """The limit of one search of a provider of footage."""
    max_footage_calls: int = 8
    """The most public searches for footage at once, a quarter of them for one user. Calls of jobs do not count."""
    moderation_by_provider: bool = True
    """Whether texts are also sent to the moderation of OpenAI, where `openai-moderation` or `openai` has a key."""
