"""Sentences: split a text into its sentences without losing a character."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

MAX_SENTENCES = 5000
"""The most sentences of a script; beyond, neighbouring sentences are joined."""

# The characters before and after a stop that decide whether it ends a sentence.
_CONTEXT = 64

# Stops of Latin, Greek, Cyrillic, Arabic, Urdu, Armenian and Ethiopic text: a blank must follow them.
_SPACED = ".!?…‼⁇⁈⁉؟۔։።"
# Stops of Chinese and Japanese, and the danda of Hindi: anything may follow them.
_BARE = "。！？｡．।॥"
_CLOSERS = "\"'”’»›)]}」』）】》〉〕］｝“«‹"
_OPENERS = "\"'“‘„‚«‹([{「『（【《〈〔［｛¿¡-–—"

# French has a blank before a closing quotation mark. A quotation mark directly before a word opens a quotation.
_QUOTED = r"(?:\s*[»›](?=[\s.,;:!?)]|$))?"
_STOP = re.compile(rf"[{_BARE}{_SPACED}]*[{_BARE}][{_BARE}{_SPACED}]*[{re.escape(_CLOSERS)}]*\s*"
                   rf"|[{_SPACED}]+{_QUOTED}[{re.escape(_CLOSERS)}]*(?:\s+|$)")  # fmt: skip
_LETTER_IN_A_SYMBOL = re.compile(r" LATIN (?:CAPITAL|SMALL) LETTER ")
# Emoji with their joiners, and the blanks before them.
_SYMBOLS = re.compile(
    "(?:\\s*[\u2190-\u21ff\u2300-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\u200d\ufe0f\u20e3\U000e0020-\U000e007f]+)*\\s*"
)
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]?", re.UNICODE)

# Abbreviations between blanks, without their last full stop.
# Before a name or a remark: these never end a sentence.
_NEVER_LAST = (
    " dr mr mrs ms mx prof st gen col lt capt cpt sgt maj rev hon sen rep gov pres mt vs e.g i.e cf viz approx "
    "resp z.b d.h u.a bzw ggf bspw sra srta mme mlle "
)
# These do not end a sentence before a number.
_BEFORE_NUMBER = (
    " no nos art p pp para op ca ch sec eq eqs fig figs vol nr est ed jan feb mar apr jun jul aug sep sept oct nov dec "
)
# Languages that write ordinal numbers with a full stop, as in `3. Oktober`, and the words before and after a number
# that mark it as ordinal. If the language is unknown, only words that are not English count.
_ORDINAL_LANGUAGES = " de lb da nb nn no fi et lv lt cs sk sl hr bs sr hu pl tr is fo "
_BEFORE_ORDINAL = (
    " der die das dem den des im am vom zum zur beim ab bis seit jeder jede jedes jeden dieser diese dieses ihr sein "
    "unser den det e. každý každé az a od do dne dnia dne 1. og und bis "
)
_ONLY_GERMAN = " der das dem des im vom zum zur beim seit jeder jede jedes jeden dieser dieses unser "
_AFTER_ORDINAL = (
    " januar jänner februar märz april mai juni juli august september oktober november dezember jahrhundert "
    "jahrhunderts jahrhunderte jahrtausend weltkrieg weltkriegs tag tages platz mal auflage kapitel klasse stock "
    "etage liga spieltag geburtstag ledna února března dubna května června července srpna září října listopadu "
    "prosince století január "
    "február marec apríl máj jún júl jeseň stycznia lutego marca kwietnia maja czerwca lipca sierpnia września "
    "października listopada grudnia wieku marts maj august oktober desember desember tammikuuta helmikuuta maaliskuuta "
    "huhtikuuta toukokuuta kesäkuuta heinäkuuta elokuuta syyskuuta lokakuuta marraskuuta joulukuuta február március "
    "április május június július augusztus szeptember október november december század yüzyıl dünya "
)
# These end a sentence only before a word that often begins one.
_SOMETIMES_LAST = " inc ltd co corp bros llc jr sr ph.d m.d b.a m.a esq dept univ ave blvd rd "
_STARTERS = (
    " a after all also although an and another are as at because before but by can do does each even every finally "
    "first for from had has have he her here his how however i if in is it its just let like many maybe more most my "
    "never next no nobody not now of on once one only or other our people perhaps she since so some sometimes soon "
    "still such that the their then there these they this those though through to today together tomorrow under until "
    "was we well were what when where which while who why will with without yes yesterday yet you your "
)


def is_speakable(text: str) -> bool:
    """Whether a text has a letter or a digit, plain or decorated."""
    return any(map(_is_letter_or_digit, text))


def _is_letter_or_digit(character: str) -> bool:
    # Unicode classes circled and squared letters as symbols.
    return (
        unicodedata.category(character)[0] in "LN"
        or _LETTER_IN_A_SYMBOL.search(unicodedata.name(character, "")) is not None
    )


def split_sentences(text: str, language: str = "") -> list[str]:
    """Split a text into sentences, in order, each on one line with single blanks.

    Together they contain every character of the text except white space. Text without letters and digits, such as a
    row of stars, is appended to the sentence before it. A text without any letter or digit has no sentences.

    Args:
        text: The text.
        language: Its language (ISO 639); empty when unknown.
    """
    # In a text without capitals, a lower-case letter does not show that a sentence continues.
    has_capitals = text != text.lower()
    sentences: list[str] = []
    carried = ""
    for part in (
        part for paragraph in _paragraphs(text) for part in _split_paragraph(paragraph, has_capitals, language)
    ):
        sentence = " ".join(part.split())
        if not sentence:
            continue
        if is_speakable(sentence):
            sentences.append(f"{carried} {sentence}".strip())
            carried = ""
        elif sentences:
            sentences[-1] += f" {sentence}"
        else:
            carried = f"{carried} {sentence}".strip()
    while len(sentences) > MAX_SENTENCES:
        sentences = [" ".join(sentences[at : at + 2]) for at in range(0, len(sentences), 2)]
    return sentences


def _paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a text. A single line break also ends one, unless the sentence clearly continues."""
    paragraph = ""
    for line in text.splitlines():
        stripped = line.strip()
        continues = bool(paragraph and stripped) and (
            stripped[0].islower() or paragraph.rstrip()[-1] in ",;-–—，、；" or paragraph.rstrip()[-1] in _OPENERS
        )
        if paragraph and not continues:
            yield paragraph
            paragraph = ""
        paragraph = f"{paragraph}\n{stripped}" if paragraph else stripped
    if paragraph:
        yield paragraph


def _split_paragraph(paragraph: str, has_capitals: bool, language: str) -> Iterator[str]:
    start = 0
    for stop in _STOP.finditer(paragraph):
        # An emoji after a stop belongs to the sentence before it.
        end = _SYMBOLS.match(paragraph, stop.end()).end()  # type: ignore[union-attr]
        before = paragraph[max(start, stop.start() - _CONTEXT) : stop.start()]
        after = paragraph[end : end + _CONTEXT]
        if stop.start() >= start and _ends_sentence(before, stop.group().strip(), after, has_capitals, language):
            yield paragraph[start:end]
            start = end
    yield paragraph[start:]


def _ends_sentence(before: str, stop: str, after: str, has_capitals: bool, language: str) -> bool:
    """Whether a stop between the texts `before` and `after` ends a sentence."""
    if not after or any(character in _BARE for character in stop):
        return True
    following = re.match(r"[\w'’]+", after.lstrip(_OPENERS + " "))
    word = following.group() if following else ""
    if has_capitals and word[:1].islower():
        return False
    if stop.rstrip(_CLOSERS) != ".":
        return True
    last = before.split()[-1].lstrip(_OPENERS) if before.split() else ""
    bare = last.lower()
    if before.strip() == last and bare.isdigit() and len(bare) <= 3:
        return False  # "3. Wash the rice."
    if bare.isdigit() and len(bare) <= 3 and _is_ordinal(before, word, language):
        return False
    if f" {bare} " in _NEVER_LAST or (f" {bare} " in _BEFORE_NUMBER and word[:1].isdigit()):
        return False
    # A Korean syllable or a Chinese character is a word, not an initial.
    initials = _INITIALS.fullmatch(f"{last}.") and not any(map(_is_wide, last))
    if f" {bare} " in _SOMETIMES_LAST or (initials and bare not in ("a.m", "p.m")):
        return f" {word.lower()} " in _STARTERS
    return True


def _is_ordinal(before: str, word: str, language: str) -> bool:
    """Whether the number at the end of `before`, followed by `word`, is ordinal, as in `Der 3. Oktober`."""
    if language and f" {language} " not in _ORDINAL_LANGUAGES:
        return False
    if f" {word.lower()} " in _AFTER_ORDINAL:
        return True
    article = before.split()[-2].lower().lstrip(_OPENERS) if len(before.split()) > 1 else ""
    return f" {article} " in (_BEFORE_ORDINAL if language else _ONLY_GERMAN)


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) == "W"
