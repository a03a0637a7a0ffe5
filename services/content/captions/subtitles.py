"""Subtitles: captions and title cards as subtitle files for other programs."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pysubs2 import SSAEvent, SSAFile

from services.content.captions.ass import place_captions, write_ass
from services.content.captions.cues import Cue, make_cues
from services.content.captions.title_cards import OccupiedArea, TitleCard, place_titles
from services.content.layout.line_breaking import Word
from services.content.layout.style import Position, ResolvedStyle
from services.content.layout.typesetting import vertical_extent

# Languages that share characters with others and draw some of them differently.
_REGIONAL_GLYPHS = ("ja", "ko", "zh")


@dataclass(frozen=True)
class Subtitles:
    """Captions as cues and as files."""

    cues: tuple[Cue, ...]
    srt: str
    vtt: str
    ass: str
    """Includes the title cards."""
    missing_glyphs: str
    """The characters that no font can show, each once; the ASS script does not contain them."""


def make_subtitles(
    sentences: Sequence[Sequence[Word]], style: ResolvedStyle, cards: Sequence[TitleCard] = (), language: str = ""
) -> Subtitles:
    """Make the subtitles of spoken sentences and title cards.

    Args:
        sentences: The words of each sentence, with their times.
        style: The style of the captions.
        cards: The title cards, which keep clear of the captions.
        language: The language of the text (ISO 639); empty: it is guessed from the letters.

    Raises `InvalidArgument` (REQUEST_INVALID) when a word begins before the one before it has ended.
    """
    spoken_text = " ".join(word.text for words in sentences for word in words)
    style = replace(style, language=language or guess_language(spoken_text))
    cards = [replace(card, style=replace(card.style, language=style.language)) for card in cards]
    fitted = style.fit_words(sentences)
    cues = make_cues(sentences, fitted.layout)
    drawn = [] if style.style.position is Position.NONE else place_captions(cues, fitted)
    occupied = [OccupiedArea(one.first, one.last, *vertical_extent(one.block, fitted)) for one in drawn]
    titles = list(place_titles(cards, occupied))
    titles_text = "\n".join(card.text for card in cards)
    text = "\n".join([*(line for cue in cues for line in cue.lines), titles_text])
    shown = titles_text if style.style.position is Position.NONE else text
    script_language = language if language in _REGIONAL_GLYPHS else guess_language(text) or language
    return Subtitles(
        cues=tuple(cues),
        srt=write_srt(cues),
        vtt=write_vtt(cues),
        ass=write_ass(drawn, titles, fitted, script_language),
        missing_glyphs=style.fallback.missing_characters(shown) if style.fallback else "",
    )


def subtitle_file(format_name: str, subtitles: Subtitles) -> str:
    """The text of the subtitle file of a format: `srt`, `vtt` or `ass`."""
    return {"srt": subtitles.srt, "vtt": subtitles.vtt, "ass": subtitles.ass}[format_name]


def guess_language(text: str) -> str:
    """The language of a text by its letters: Japanese, Korean, Chinese, or empty."""
    if any("\u3041" <= character <= "\u3096" or "\u30a1" <= character <= "\u30fa" for character in text):
        return "ja"
    if any("\uac00" <= character <= "\ud7a3" for character in text):
        return "ko"
    return "zh" if any("\u3400" <= character <= "\u9fff" for character in text) else ""


def write_srt(cues: Sequence[Cue]) -> str:
    """Write an SRT file. Its text is literal: SRT has no escapes."""
    return _write(cues, "srt", [cue.lines for cue in cues])


def write_vtt(cues: Sequence[Cue]) -> str:
    """Write a WebVTT file."""
    return _write(cues, "vtt", [[html.escape(line, quote=False) for line in cue.lines] for cue in cues])


def _write(cues: Sequence[Cue], format_name: str, texts: Sequence[Sequence[str]]) -> str:
    subtitles = SSAFile()
    for cue, lines in zip(cues, texts, strict=True):
        start, end = (round(time.total_seconds() * 1000) for time in (cue.start, cue.end))
        # pysubs2 reads ASS escapes here. No cue contains a control character, so one can stand for the backslash.
        text = r"\N".join(line.replace("\\", "\x01") for line in lines)
        subtitles.append(SSAEvent(start=start, end=end, text=text))
    return subtitles.to_string(format_name, keep_ssa_tags=True).replace("\x01", "\\")
