"""Social metadata: titles, descriptions and hashtags under which a video is published, within limits of platforms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from moneyprinter.errors import InvalidArgument
from services.content.scripts.key_words import find_key_words
from services.content.scripts.languages import is_in_language
from services.content.scripts.sentences import is_speakable, split_sentences
from services.content.scripts.writing import PLAIN_TEMPLATE, Notice, TokenCount
from services.content.threads import run_in_thread
from services.content.writers.checks import Checked, clean_text
from services.content.writers.pool import WriterPool
from services.content.writers.prompts import build_metadata_prompt
from services.providers.usage import UNLIMITED, Budget

METADATA_COMPOSED = "METADATA_COMPOSED"
"""The reason of a notice: no provider wrote the texts, so that they are taken from the script."""
_MAX_HASHTAG = 40
_MARKUP = re.compile(r"\*\*|__|`|^ {0,3}#{1,6} |\]\(|<[a-z/][^<>\n]{0,100}>|https?://", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Platform:
    """The limits of a platform."""

    title_characters: int
    description_characters: int
    """With hashtags and credits."""
    hashtag_count: int


# Sources: YouTube Help, "Upload videos" and "Use hashtags"; TikTok and Instagram, captions of posts.
PLATFORMS: Mapping[str, Platform] = {
    "youtube": Platform(100, 4800, 8),
    "tiktok": Platform(100, 2000, 5),
    "instagram": Platform(100, 2000, 10),
}
# What is requested of a writer: the beginning is all that is shown.
_DESCRIPTION_AIM = {"youtube": 700, "tiktok": 250, "instagram": 500}


@dataclass(frozen=True)
class PlatformText:
    """The texts for one platform."""

    platform: str
    title: str
    description: str
    hashtags: tuple[str, ...]
    """Without `#`."""


@dataclass(frozen=True)
class Metadata:
    """The texts for each platform, in the order of the request."""

    texts: tuple[PlatformText, ...]
    writer: str
    notices: tuple[Notice, ...] = ()
    tokens: tuple[TokenCount, ...] = ()
    """What providers charged for."""


async def describe_video(
    pool: WriterPool,
    script: str,
    title: str,
    language: str,
    platforms: Sequence[str],
    account: str,
    budget: Budget = UNLIMITED,
) -> Metadata:
    """Write title, description and hashtags for each platform; without a writer, from the words of the script.

    Args:
        pool: The writers.
        script: The narration.
        title: The title of the video; empty: none.
        language: The language of the texts (ISO 639).
        platforms: Names of `PLATFORMS`.
        account: The account of the request.
        budget: What providers may charge.

    Raises `InvalidArgument` (SCRIPT_EMPTY) when the script has no words.
    """
    if not is_speakable(script):
        raise InvalidArgument("the script has nothing to describe; write some words", reason="SCRIPT_EMPTY")
    limits = [
        {
            "platform": name,
            **asdict(replace(PLATFORMS[name], description_characters=_DESCRIPTION_AIM[name])),
        }
        for name in platforms
    ]
    text = f"{title}\n{script}".strip()
    answer = await pool.ask(
        ["metadata", account, language, title, script, list(platforms)],
        lambda problems, _: build_metadata_prompt(text, language, limits, problems),
        lambda document: check_metadata(document, platforms, language),
        budget,
        account,
    )
    if answer.value is not None:
        return Metadata(answer.value, answer.writer, answer.notices, answer.tokens)
    composed = await run_in_thread(compose_metadata, script, title, language, platforms)
    notices = answer.notices
    if notices:
        message = "no writer gave usable texts, so that they are taken from the script; edit them, or try again later"
        notices = (*notices, Notice(METADATA_COMPOSED, message))
    return Metadata(composed, PLAIN_TEMPLATE, notices, answer.tokens)


def compose_metadata(script: str, title: str, language: str, platforms: Sequence[str]) -> tuple[PlatformText, ...]:
    """Take the texts from a script: its first sentences, and its key words as hashtags."""
    sentences = split_sentences(script, language) or [title]
    words = find_key_words(f"{title}\n{script}", language, 20)
    found = []
    for name in platforms:
        limits = PLATFORMS[name]
        description = ""
        for sentence in sentences:
            if len(description) + len(sentence) > _DESCRIPTION_AIM[name]:
                break
            description = f"{description} {sentence}".strip()
        found.append(
            PlatformText(
                name,
                shorten(title or sentences[0].rstrip(".。।"), limits.title_characters),
                description or shorten(sentences[0], _DESCRIPTION_AIM[name]),
                clean_hashtags(words, limits.hashtag_count),
            )
        )
    return tuple(found)


def check_metadata(document: Any, platforms: Sequence[str], language: str) -> Checked[tuple[PlatformText, ...]]:
    """Read the texts of an answer, and check them against the limits of the platforms."""
    entries = document.get("platforms") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) != len(platforms):
        return Checked((), (f"`platforms` of the answer must have {len(platforms)} elements",))
    texts = tuple(_read_text(entry, name) for entry, name in zip(entries, platforms, strict=True))
    problems = []
    for text in texts:
        limits = PLATFORMS[text.platform]
        if not is_speakable(text.title) or len(text.title) > limits.title_characters:
            problems.append(f"the title of {text.platform} must have 1 to {limits.title_characters} characters")
        if not is_speakable(text.description) or len(text.description) > limits.description_characters:
            problems.append(f"the description of {text.platform} must have 1 to {limits.description_characters}")
        if not text.hashtags:
            problems.append(f"{text.platform} has no hashtags")
    shown = "\n".join(f"{text.title}\n{text.description}" for text in texts)
    if _MARKUP.search(shown):
        problems.append("the texts have Markdown, tags or addresses")
    if not is_in_language(shown, language):
        problems.append(f"the texts are not in the language {language!r}")
    return Checked(texts, tuple(problems[:8]), shown)


def add_credits(texts: Sequence[PlatformText], credits: Sequence[str]) -> tuple[PlatformText, ...]:
    """Append lines with the authors of footage to each description. It is shortened where both exceed the limit."""
    lines = "\n".join(line for line in map(clean_text, credits) if line)
    if not lines:
        return tuple(texts)
    found = []
    for text in texts:
        space = PLATFORMS[text.platform].description_characters
        kept = lines[:space]
        description = shorten(text.description, max(0, space - len(kept) - 2))
        found.append(replace(text, description=f"{description}\n\n{kept}".strip()))
    return tuple(found)


def shorten(text: str, limit: int) -> str:
    """A text of at most `limit` characters, which ends with an ellipsis where it was cut, after a word if possible."""
    if len(text) <= limit:
        return text
    cut = text[: max(0, limit - 1)]
    whole = cut.rpartition(" ")[0]
    return f"{whole if len(whole) > limit / 2 else cut}…"[:limit]


def clean_hashtags(words: Sequence[str], count: int) -> tuple[str, ...]:
    """Return up to `count` hashtags without `#`, of letters, digits and underscores, each once."""
    found: dict[str, str] = {}
    for word in words:
        tag = re.sub(r"[^\w]", "", clean_text(word))
        if tag and len(tag) <= _MAX_HASHTAG and not tag.isnumeric() and is_speakable(tag):
            found.setdefault(tag.casefold(), tag)
    return tuple(found.values())[:count]


def _read_text(entry: Any, platform: str) -> PlatformText:
    fields = entry if isinstance(entry, dict) else {}
    title, description, tags = fields.get("title"), fields.get("description"), fields.get("hashtags")
    lines = [clean_text(line) for line in description.splitlines()] if isinstance(description, str) else []
    return PlatformText(
        platform,
        clean_text(title) if isinstance(title, str) else "",
        "\n".join(lines).strip(),
        clean_hashtags(
            [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else [],
            PLATFORMS[platform].hashtag_count,
        ),
    )
