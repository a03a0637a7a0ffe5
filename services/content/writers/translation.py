"""Translation: scripts and captions in another language, by the writers, with the same structure and the same times."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from moneyprinter.errors import FailedPrecondition, InvalidArgument, Unavailable
from services.content.scripts.languages import is_in_language
from services.content.scripts.lengths import counts_letters
from services.content.scripts.scenes import Scene
from services.content.scripts.sentences import is_speakable
from services.content.scripts.writing import Notice, TokenCount
from services.content.writers.asking import COST_LIMITED, Answer
from services.content.writers.checks import Checked, clean_text, find_text_problems
from services.content.writers.pool import WriterPool
from services.content.writers.prompts import build_translation_prompt
from services.providers.usage import UNLIMITED, Budget

MAX_CHARACTERS = 40_000
"""The most characters that are translated in one call."""
MAX_TEXTS = 5000
# The texts of one question: more of them are confused by models, and reach their limit of tokens.
_MAX_PART_TEXTS, _MAX_PART_CHARACTERS = 60, 4000
_PARTS_AT_ONCE = 6
# A line of SubRip or WebVTT with the times of a cue.
_TIME = r"(?:\d{1,4}:)?\d{1,2}:\d{2}[.,]\d{1,3}"
_TIMES = re.compile(rf"{_TIME}[ \t]{{1,8}}-->[ \t]{{1,8}}{_TIME}(?:[ \t].{{0,200}})?")
_TAGS = re.compile(r"</?[a-zA-Z][^<>\n]{0,100}>|\{\\[^{}\n]{0,100}\}")


@dataclass(frozen=True)
class Translation:
    """Translated texts."""

    texts: tuple[str, ...]
    """One for each text, in the same order."""
    writer: str
    """The providers that translated, in order of first use, separated by commas."""
    notices: tuple[Notice, ...] = ()
    tokens: tuple[TokenCount, ...] = ()
    """What the providers charged for."""


async def translate_texts(
    pool: WriterPool, texts: Sequence[str], language: str, account: str, budget: Budget = UNLIMITED
) -> Translation:
    """Translate texts, which follow each other; texts without letters and digits stay as they are.

    Args:
        pool: The writers.
        texts: The texts, in order.
        language: The target language (ISO 639).
        account: The account of the request.
        budget: What providers may charge.

    Raises `InvalidArgument` when there is nothing or too much to translate; `FailedPrecondition` (WRITER_MISSING) when
    no provider has credentials, or (COST_LIMIT_REACHED) when all of them may charge more than is left; and
    `Unavailable` (WRITERS_FAILED) when none of them translated.
    """
    chosen = [at for at, text in enumerate(texts) if is_speakable(text)]
    if not chosen:
        raise InvalidArgument("the text holds nothing that can be translated; write some words", reason="SCRIPT_EMPTY")
    if len(texts) > MAX_TEXTS or sum(map(len, texts)) > MAX_CHARACTERS:
        raise InvalidArgument(
            f"the text has more than {MAX_CHARACTERS} characters or {MAX_TEXTS} parts; translate it in several calls",
            reason="REQUEST_TOO_LARGE",
        )
    await require_writer(pool, account)
    parts = _divide([texts[at] for at in chosen])
    limit = asyncio.Semaphore(_PARTS_AT_ONCE)
    share = budget if budget.max_cost is None else replace(budget, max_cost=budget.max_cost / len(parts))

    async def translate_part(part: Sequence[str]) -> Answer[tuple[str, ...]]:
        async with limit:
            return await pool.ask(
                ["translation", account, language, list(part)],
                lambda problems, _: build_translation_prompt(part, language, problems),
                lambda document: check_translations(document, part, language),
                share,
                account,
            )

    answers = await asyncio.gather(*(translate_part(part) for part in parts))
    notices = tuple(dict.fromkeys(notice for answer in answers for notice in answer.notices))
    translated: list[str] = []
    for answer in answers:
        if answer.value is None:
            reasons = "; ".join(notice.message for notice in answer.notices)
            if all(notice.reason == COST_LIMITED for notice in answer.notices):
                raise FailedPrecondition(
                    f"the text cannot be translated: {reasons}; ask an administrator for a higher limit",
                    reason="COST_LIMIT_REACHED",
                )
            raise Unavailable(f"no writer translated the text; try again later: {reasons}", reason="WRITERS_FAILED")
        translated += answer.value
    found = dict(zip(chosen, translated, strict=True))
    names = dict.fromkeys(answer.writer for answer in answers)
    tokens = tuple(count for answer in answers for count in answer.tokens)
    return Translation(tuple(found.get(at, text) for at, text in enumerate(texts)), ", ".join(names), notices, tokens)


async def require_writer(pool: WriterPool, account: str) -> None:
    """Raise `FailedPrecondition` (WRITER_MISSING) when no provider has credentials for the calls of an account."""
    if not await pool.find_names(account):
        raise FailedPrecondition(
            "no writer is configured, so that nothing can be translated; have the operator give a provider's key "
            "(docs/providers.md), or translate the text elsewhere and send it as the script",
            reason="WRITER_MISSING",
        )


def check_translations(document: Any, texts: Sequence[str], language: str) -> Checked[tuple[str, ...]]:
    """Read the translations of an answer: as many as there are texts, none empty, in the language."""
    entries = document.get("translations") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return Checked((), ("the answer has no `translations`",))
    found = tuple(clean_text(entry) if isinstance(entry, str) else "" for entry in entries)
    spoken = "\n".join(found)
    problems = []
    if len(found) != len(texts):
        problems.append(f"there are {len(found)} translations; there must be {len(texts)}, one for each text")
    problems += [f"translation {at} is empty" for at, text in enumerate(found, 1) if not is_speakable(text)][:5]
    if not problems and not is_in_language(spoken, language):
        problems.append(f"the translations are not in the language {language!r}")
    # What the texts already had is not the translator's.
    before = find_text_problems("\n".join(texts))
    problems += [problem for problem in find_text_problems(spoken) if problem not in before]
    return Checked(found, tuple(problems), spoken)


async def translate_scenes(
    pool: WriterPool, scenes: Sequence[Scene], language: str, account: str, budget: Budget = UNLIMITED
) -> tuple[tuple[Scene, ...], Translation]:
    """Translate the sentences and titles of scenes. Their search terms stay, so that they share their footage.

    Returns the scenes, and the translation with the texts of the sentences and titles. Raises what `translate_texts`
    raises.
    """
    texts = [text for scene in scenes for text in (*scene.sentences, scene.title)]
    translation = await translate_texts(pool, texts, language, account, budget)
    ends = list(accumulate(len(scene.sentences) + 1 for scene in scenes))
    translated = []
    for scene, start, end in zip(scenes, [0, *ends], ends, strict=False):
        *sentences, title = translation.texts[start:end]
        translated.append(replace(scene, sentences=tuple(sentences), title=title))
    return tuple(translated), translation


async def translate_captions(
    pool: WriterPool, captions: str, language: str, account: str, budget: Budget = UNLIMITED
) -> tuple[str, Translation]:
    """Translate a caption file (SubRip or WebVTT). Its times, settings and header stay as they are; tags are dropped.

    Returns the file, and the translation with the texts of the cues. Raises what `translate_texts` raises, and
    `InvalidArgument` when the file has no cues.
    """
    lines = captions.removeprefix("\ufeff").splitlines()
    cues = _find_cues(lines)
    if not cues:
        raise InvalidArgument(
            "captions: there is no cue; send the text of a file in SubRip (.srt) or WebVTT (.vtt)",
            reason="REQUEST_INVALID",
        )
    texts = [" ".join(_TAGS.sub("", line).strip() for line in lines[start:end]) for start, end in cues]
    translation = await translate_texts(pool, texts, language, account, budget)
    written, at = [], 0
    for (start, end), text in zip(cues, translation.texts, strict=True):
        written += [*lines[at:start], *wrap_text(text, end - start, language)]
        at = end
    return "\n".join([*written, *lines[at:]]) + "\n", translation


def wrap_text(text: str, count: int, language: str) -> list[str]:
    """Divide a text into at most `count` lines of similar length, between words."""
    words = list(text) if counts_letters(language) else text.split()
    separator = "" if counts_letters(language) else " "
    lines: list[str] = []
    while words and len(lines) < count - 1:
        left = count - len(lines)
        aim = len(separator.join(words)) / left
        taken, length = 1, len(words[0])
        while taken < len(words) and length + len(separator) + len(words[taken]) / 2 <= aim:
            length += len(separator) + len(words[taken])
            taken += 1
        lines.append(separator.join(words[:taken]).strip())
        words = words[taken:]
    return [line for line in [*lines, separator.join(words).strip()] if line]


def _find_cues(lines: Sequence[str]) -> list[tuple[int, int]]:
    """The first and the last line of the text of each cue, which follows a line with times up to an empty line."""
    cues, at = [], 0
    while at < len(lines):
        at += 1
        if _TIMES.fullmatch(lines[at - 1].strip()):
            start = at
            while at < len(lines) and lines[at].strip() and not _TIMES.fullmatch(lines[at].strip()):
                at += 1
            if at > start:
                cues.append((start, at))
    return cues


def _divide(texts: Sequence[str]) -> list[list[str]]:
    """Divide texts into parts that one question can have."""
    parts: list[list[str]] = [[]]
    size = 0
    for text in texts:
        if parts[-1] and (len(parts[-1]) >= _MAX_PART_TEXTS or size + len(text) > _MAX_PART_CHARACTERS):
            parts.append([])
            size = 0
        parts[-1].append(text)
        size += len(text)
    return parts
