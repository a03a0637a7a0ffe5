"""Subtitles: captions and title cards as files that other programs read."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pysubs2 import SSAEvent, SSAFile

from services.content import ass, captions, titles, typeset
from services.content.captions import Cue
from services.content.looks import Look, Position
from services.content.pieces import Word
from services.content.titles import Card, Reach

# Languages in which some characters are drawn in a way of their own.
_DRAWN_OTHERWISE = ("ja", "ko", "zh")


@dataclass(frozen=True)
class Subtitles:
    """Captions, and the same as files."""

    cues: tuple[Cue, ...]
    srt: str
    vtt: str
    ass: str
    """With the title cards."""
    missing_glyphs: str
    """Characters to be drawn that no font can show, each once; they are not in the ASS script."""


def make(sentences: Sequence[Sequence[Word]], look: Look, cards: Sequence[Card] = (), language: str = "") -> Subtitles:
    """The captions of spoken sentences. Raises InvalidArgument when a word does not follow the one before it."""
    written = " ".join(word.text for words in sentences for word in words)
    look = replace(look, language=language or guessed(written))
    cards = [replace(card, look=replace(card.look, language=look.language)) for card in cards]
    fitted = look.fitted(sentences)
    cues = captions.make(sentences, fitted.layout)
    drawn = [] if look.style.position is Position.NONE else ass.captions(cues, fitted)
    taken = [Reach(one.first, one.last, *typeset.reach(one.block, fitted)) for one in drawn]
    placed = list(titles.place(cards, taken))
    titles_text = "\n".join(card.text for card in cards)
    text = "\n".join([*(line for cue in cues for line in cue.lines), titles_text])
    shown = titles_text if look.style.position is Position.NONE else text
    return Subtitles(
        cues=tuple(cues),
        srt=srt(cues),
        vtt=vtt(cues),
        ass=ass.ass(drawn, placed, fitted, language if language in _DRAWN_OTHERWISE else guessed(text) or language),
        missing_glyphs=look.chain.missing(shown) if look.chain else "",
    )


def file(form: str, made: Subtitles) -> str:
    """Captions as the file of a form: `srt`, `vtt` or `ass`."""
    return {"srt": made.srt, "vtt": made.vtt, "ass": made.ass}[form]


def guessed(text: str) -> str:
    """The language of a text as far as its letters tell: Japanese, Korean, Chinese, or empty."""
    if any("\u3041" <= character <= "\u3096" or "\u30a1" <= character <= "\u30fa" for character in text):
        return "ja"
    if any("\uac00" <= character <= "\ud7a3" for character in text):
        return "ko"
    return "zh" if any("\u3400" <= character <= "\u9fff" for character in text) else ""


def srt(cues: Sequence[Cue]) -> str:
    """An SRT file. Its text is literal: SRT knows no escape."""
    return _written(cues, "srt", [cue.lines for cue in cues])


def vtt(cues: Sequence[Cue]) -> str:
    """A WebVTT file."""
    return _written(cues, "vtt", [[html.escape(line, quote=False) for line in cue.lines] for cue in cues])


def _written(cues: Sequence[Cue], kind: str, texts: Sequence[Sequence[str]]) -> str:
    subtitles = SSAFile()
    for cue, lines in zip(cues, texts, strict=True):
        start, end = (round(time.total_seconds() * 1000) for time in (cue.start, cue.end))
        # pysubs2 reads ASS escapes here; no cue holds a control character, so one can stand for the backslash.
        text = r"\N".join(line.replace("\\", "\x01") for line in lines)
        subtitles.append(SSAEvent(start=start, end=end, text=text))
    return subtitles.to_string(kind, keep_ssa_tags=True).replace("\x01", "\\")
