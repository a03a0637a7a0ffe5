"""Sentences: cut a text where a reader would draw breath, and lose none of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

MAX_SENTENCES = 5000
"""The most that a script is cut into; beyond, neighbours stay together."""

# How many characters around a stop tell whether it ends a sentence.
_CONTEXT = 64

# Stops of Latin, Greek and Cyrillic, Arabic, Urdu, Armenian and Ethiopic text: a blank follows them.
_SPACED = ".!?…‼⁇⁈⁉؟۔։።"
# Stops of Chinese and Japanese, and the danda of Hindi: nothing needs to follow them.
_BARE = "。！？｡．।॥"
_CLOSERS = "\"'”’»›)]}」』）】》〉〕］｝“«‹"
_OPENERS = "\"'“‘„‚«‹([{「『（【《〈〔［｛¿¡-–—"

# As in French, a blank may stand before the sign that closes a quotation; one before a word opens the next.
_QUOTED = r"(?:\s*[»›](?=[\s.,;:!?)]|$))?"
_STOP = re.compile(rf"[{_BARE}{_SPACED}]*[{_BARE}][{_BARE}{_SPACED}]*[{re.escape(_CLOSERS)}]*\s*"
                   rf"|[{_SPACED}]+{_QUOTED}[{re.escape(_CLOSERS)}]*(?:\s+|$)")  # fmt: skip
_LETTER_IN_A_SYMBOL = re.compile(r" LATIN (?:CAPITAL|SMALL) LETTER ")
# Emoji, with what makes one of several, and the blanks before them.
_SYMBOLS = re.compile(
    "(?:\\s*[\u2190-\u21ff\u2300-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\u200d\ufe0f\u20e3\U000e0020-\U000e007f]+)*\\s*"
)
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]?", re.UNICODE)

# Abbreviations, without their last point, between blanks.
# Before a name or a remark: these never end a sentence.
_BEFORE_MORE = (
    " dr mr mrs ms mx prof st gen col lt capt cpt sgt maj rev hon sen rep gov pres mt vs e.g i.e cf viz approx "
    "resp z.b d.h u.a bzw ggf bspw sra srta mme mlle "
)
# Before a number only.
_BEFORE_NUMBER = (
    " no nos art p pp para op ca ch sec eq eqs fig figs vol nr est ed jan feb mar apr jun jul aug sep sept oct nov dec "
)
# Languages that write ordinal numbers with a point, `3. Oktober`, and words before and after one which tell that it is
# one. Without a known language only those count that are no words of English.
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
# These end a sentence only when the next word is one that sentences begin with.
_MAYBE = " inc ltd co corp bros llc jr sr ph.d m.d b.a m.a esq dept univ ave blvd rd "
_STARTERS = (
    " a after all also although an and another are as at because before but by can do does each even every finally "
    "first for from had has have he her here his how however i if in is it its just let like many maybe more most my "
    "never next no nobody not now of on once one only or other our people perhaps she since so some sometimes soon "
    "still such that the their then there these they this those though through to today together tomorrow under until "
    "was we well were what when where which while who why will with without yes yesterday yet you your "
)


def speakable(text: str) -> bool:
    """Whether a text holds a letter or a digit, plain or decorated: something that can be spoken."""
    return any(map(_spoken, text))


def _spoken(character: str) -> bool:
    # Circled and squared letters are symbols to Unicode.
    return (
        unicodedata.category(character)[0] in "LN"
        or _LETTER_IN_A_SYMBOL.search(unicodedata.name(character, "")) is not None
    )


def split(text: str, language: str = "") -> list[str]:
    """The sentences of a text, in order, each on one line with single blanks. `language` is its ISO 639 code, if known.

    Joined they hold every character of the text but its white space. What cannot be spoken by itself,
    such as a row of stars, belongs to the sentence before it. A text without anything to speak has none.
    """
    # Who writes without capitals would otherwise get one endless sentence.
    capitals = text != text.lower()
    found: list[str] = []
    carried = ""
    for piece in (piece for line in _lines(text) for piece in _pieces(line, capitals, language)):
        sentence = " ".join(piece.split())
        if not sentence:
            continue
        if speakable(sentence):
            found.append(f"{carried} {sentence}".strip())
            carried = ""
        elif found:
            found[-1] += f" {sentence}"
        else:
            carried = f"{carried} {sentence}".strip()
    while len(found) > MAX_SENTENCES:
        found = [" ".join(found[at : at + 2]) for at in range(0, len(found), 2)]
    return found


def _lines(text: str) -> Iterator[str]:
    """The paragraphs of a text. A single line break ends one too, unless the sentence plainly goes on."""
    paragraph = ""
    for line in text.splitlines():
        stripped = line.strip()
        goes_on = bool(paragraph and stripped) and (
            stripped[0].islower() or paragraph.rstrip()[-1] in ",;-–—，、；" or paragraph.rstrip()[-1] in _OPENERS
        )
        if paragraph and not goes_on:
            yield paragraph
            paragraph = ""
        paragraph = f"{paragraph}\n{stripped}" if paragraph else stripped
    if paragraph:
        yield paragraph


def _pieces(line: str, capitals: bool, language: str) -> Iterator[str]:
    start = 0
    for stop in _STOP.finditer(line):
        # An emoji after a stop belongs to what is said before it.
        end = _SYMBOLS.match(line, stop.end()).end()  # type: ignore[union-attr]
        before = line[max(start, stop.start() - _CONTEXT) : stop.start()]
        after = line[end : end + _CONTEXT]
        if stop.start() >= start and _ends(before, stop.group().strip(), after, capitals, language):
            yield line[start:end]
            start = end
    yield line[start:]


def _ends(before: str, stop: str, after: str, capitals: bool, language: str) -> bool:
    """Whether a stop ends the sentence `before` it, when `after` follows."""
    if not after or any(character in _BARE for character in stop):
        return True
    following = re.match(r"[\w'’]+", after.lstrip(_OPENERS + " "))
    word = following.group() if following else ""
    if capitals and word[:1].islower():
        return False
    if stop.rstrip(_CLOSERS) != ".":
        return True
    last = before.split()[-1].lstrip(_OPENERS) if before.split() else ""
    bare = last.lower()
    if before.strip() == last and bare.isdigit() and len(bare) <= 3:
        return False  # "3. Wash the rice."
    if bare.isdigit() and len(bare) <= 3 and _ordinal(before, word, language):
        return False
    if f" {bare} " in _BEFORE_MORE or (f" {bare} " in _BEFORE_NUMBER and word[:1].isdigit()):
        return False
    # A syllable of Korean or a Chinese character is a word, and no initial.
    initials = _INITIALS.fullmatch(f"{last}.") and not any(map(_wide, last))
    if f" {bare} " in _MAYBE or (initials and bare not in ("a.m", "p.m")):
        return f" {word.lower()} " in _STARTERS
    return True


def _ordinal(before: str, word: str, language: str) -> bool:
    """Whether the number at the end of `before` is an ordinal, as in `Der 3. Oktober`, when `word` follows it."""
    if language and f" {language} " not in _ORDINAL_LANGUAGES:
        return False
    if f" {word.lower()} " in _AFTER_ORDINAL:
        return True
    article = before.split()[-2].lower().lstrip(_OPENERS) if len(before.split()) > 1 else ""
    return f" {article} " in (_BEFORE_ORDINAL if language else _ONLY_GERMAN)


def _wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) == "W"
