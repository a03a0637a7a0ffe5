"""Subtitles: captions as files that other programs read."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from pysubs2 import SSAEvent, SSAFile

from services.content import captions, fonts
from services.content.ass import ass
from services.content.captions import Cue
from services.content.looks import Look
from services.content.pieces import Word


@dataclass(frozen=True)
class Subtitles:
    """Captions, and the same as files."""

    cues: tuple[Cue, ...]
    srt: str
    vtt: str
    ass: str
    missing_glyphs: str
    """Characters that no font can show, each once; they are not in the ASS script."""


def make(sentences: Sequence[Sequence[Word]], look: Look) -> Subtitles:
    """The captions of spoken sentences. Raises InvalidArgument when a word does not follow the one before it."""
    fitted = look.fitted(sentences)
    cues = captions.make(sentences, fitted.layout)
    text = "\n".join(line for cue in cues for line in cue.lines)
    return Subtitles(tuple(cues), srt(cues), vtt(cues), ass(cues, fitted), fonts.missing(text, look.fonts))


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
