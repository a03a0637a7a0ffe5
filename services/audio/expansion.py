"""Expansion: write out what a voice would read wrong, such as `5 km`, `$3.50`, `3.10.2026` and `Louis XIV`.

The words of a narration keep the spelling and get the times of what was spoken for them (`lexicon.Respelling`). Rules
without words of a language apply to all; a language without a table in `spoken_forms` has only those.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from services.audio.lexicon import Respelling
from services.audio.spoken_forms import FORMS, FRENCH_ORDINALS, KINGS, QUEENS, SpokenForms

VERSION = 1
"""Increases when the same sentence would be spoken otherwise."""

# A number with groups of three digits, or without groups; then its decimals. Every repetition is bounded.
_GROUPED = r"\d{1,3}(?:[.,\u2019' ]\d{3}){1,5}(?!\d)|\d{1,15}"
_NUMBER = rf"(?:{_GROUPED})(?:[.,]\d{{1,6}})?"
_BEFORE, _AFTER = r"(?<![\w.,/:+])", r"(?!\w|-\d)"
_ROMAN = r"(?=[XVI])X{0,3}(?:IX|IV|V?I{0,3})"
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10}
_DECADES = {"1": "tens", "2": "twenties", "3": "thirties", "4": "forties", "5": "fifties", "6": "sixties",
            "7": "seventies", "8": "eighties", "9": "nineties"}  # fmt: skip
_GERMAN_DECADES = {"1": "zehner", "2": "zwanziger", "3": "dreißiger", "4": "vierziger", "5": "fünfziger",
                   "6": "sechziger", "7": "siebziger", "8": "achtziger", "9": "neunziger"}  # fmt: skip
_RUSSIAN_DECADES = {"1": "десятых", "2": "двадцатых", "3": "тридцатых", "4": "сороковых", "5": "пятидесятых",
                    "6": "шестидесятых", "7": "семидесятых", "8": "восьмидесятых", "9": "девяностых"}  # fmt: skip
# German articles and prepositions after which an ordinal ends with -n.
_DATIVE = frozenset(["am", "vom", "zum", "beim", "dem", "den", "im", "seit", "bis", "ab", "der", "des"])


@dataclass(frozen=True)
class _Language:
    """The rules of a language, the first ones preferred."""

    name: str
    region: str
    forms: SpokenForms | None
    rules: tuple[tuple[re.Pattern[str], Callable[[_Language, re.Match[str]], str]], ...]


@dataclass(frozen=True)
class _Change:
    first: int
    last: int
    spoken: str


def expand(sentence: str, tag: str) -> Respelling:
    """Return a sentence, which has single spaces, as a voice of a language (BCP 47) shall speak it."""
    language = _language(tag)
    changes: list[_Change] = []
    for pattern, write in language.rules:
        for match in pattern.finditer(sentence):
            first, last = match.span()
            if all(last <= change.first or first >= change.last for change in changes):
                spoken = write(language, match)
                if spoken and spoken != match[0]:
                    changes.append(_Change(first, last, spoken))
    return _respell(sentence, sorted(changes, key=lambda change: change.first, reverse=True))


def _respell(sentence: str, changes: list[_Change]) -> Respelling:
    """Apply changes, the last one first, so that each place stays valid until its change."""
    written = sentence.split()
    starts, at = [], 0
    for token in written:
        starts.append(sentence.index(token, at))
        at = starts[-1] + len(token)
    spoken = list(written)
    changed_from = len(written)
    for change in changes:
        first = max(n for n, start in enumerate(starts) if start <= change.first)
        last = max(n for n, start in enumerate(starts) if start < change.last)
        words = change.spoken.split()
        # Each written word needs a spoken one, and a token at the end of one change may begin another.
        if len(words) <= last - first or (last > first and last >= changed_from):
            continue
        count = last - first + 1
        parts = [" ".join(words[len(words) * n // count : len(words) * (n + 1) // count]) for n in range(count)]
        parts[0] = spoken[first][: change.first - starts[first]] + parts[0]
        parts[-1] += spoken[last][change.last - starts[last] :]
        spoken[first : last + 1] = parts
        changed_from = first
    return Respelling(tuple(zip(written, spoken, strict=True)))


@lru_cache(64)
def _language(tag: str) -> _Language:
    name, _, region = tag.partition("-")
    forms = FORMS.get(name.lower())
    return _Language(name.lower(), region.upper(), forms, tuple(_rules(name.lower(), forms)))


def _rules(name: str, forms: SpokenForms | None) -> Iterator[tuple[re.Pattern[str], Callable[..., str]]]:
    telephone = r"(?<![\w+])(?:\+\d{1,3}(?:[ \-./()]{1,2}\d{1,5}){1,6}|\(?\d{3}\)?[ -]\d{3}-\d{4}|\d{3}-\d{4})(?![\w-])"
    if forms is not None:
        yield from _rules_of_forms(name, forms)
    yield re.compile(telephone), _telephone
    # espeak-ng ends a sentence at the full stop of an unknown abbreviation, and speaks the number behind it later.
    yield re.compile(r"(?<=\s)[^\W\d_]{1,5}\.(?= \d)"), lambda _, match: match[0][:-1]


def _rules_of_forms(name: str, forms: SpokenForms) -> Iterator[tuple[re.Pattern[str], Callable[..., str]]]:
    yield re.compile(rf"(?<![\w.,/:+-])(\d{{1,2}})([./-])(\d{{1,2}})\2(\d{{4}}){_AFTER}"), _date
    yield re.compile(rf"(?<![\w.,/:+-])(\d{{4}})-(\d{{2}})-(\d{{2}}){_AFTER}"), _iso_date
    magnitudes = "|".join(map(re.escape, sorted(forms.magnitudes, key=len, reverse=True))) or "(?!)"
    signs = "|".join(map(re.escape, sorted(forms.currencies, key=len, reverse=True)))
    yield re.compile(rf"(?<![\w])({signs}) ?({_NUMBER})(?: ({magnitudes}))?{_AFTER}"), _amount_after_sign
    yield re.compile(rf"{_BEFORE}({_NUMBER})(?: ({magnitudes}))? ?({signs}){_AFTER}"), _amount_before_sign
    yield _any_of(forms.units, rf"{_BEFORE}({_NUMBER}) ?({{0}})(?![\w²³]|/\D)"), _quantity
    yield _any_of(forms.abbreviations, r"(?<![\w.])({0})(?![\w])"), _abbreviation
    yield re.compile(r"(?<!\w)(?:N[or]\.|Nº|N°|n\.?[º°]|n\.|nr\.?|[Nn]úm\.|№) ?(\d{1,9})(?!\w)"), _number_sign
    yield re.compile(rf"(?<![\w])([^\W\d_]+) ({_ROMAN})(\.)?(?![\w'\u2019])"), _ruler
    if forms.century:
        yield re.compile(rf"(?<!\w)({_ROMAN})e?(?= (?:{'|'.join(forms.century)})\b)"), _century
    if forms.hundreds:
        words = "|".join((*forms.year_words, *forms.months))
        yield re.compile(rf"(?<!\S)((?i:{words})) (\d{{4}})(?!\w|[.,]\d)"), _year
    if name == "en":
        yield re.compile(r"(?<!\w)(1[1-9]|20)(\d)0['\u2019]?s(?!\w)"), _english_decade
        yield re.compile(r"(?<![\w:.])(1[0-2]|[1-9]):00(?![\w:]| ?[AaPp]\.?[Mm])"), _full_hour
        yield re.compile(r"(?<![\w/])([13])/([24])(?![\w/])"), _english_fraction
    if name == "de":
        months = "|".join((*forms.months, "Jahrhundert", "Jahrhunderts"))
        yield re.compile(rf"(?<!\S)(?:([^\W\d_]+) )?(\d{{1,2}})\.(?= (?:{months})\b)"), _german_ordinal
        yield re.compile(r"(?<!\w)(1[1-9])(\d)0er(?!\w)"), _german_decade
    if name == "fr":
        yield re.compile(r"(?<!\w)(\d{1,2})(?:e|ème)(?!\w)"), _french_ordinal
        yield re.compile(r"(?<![\w:])(\d{1,2}) ?[hH] ?(\d{2})(?!\w)"), lambda _, match: f"{match[1]} heures {match[2]}"
    if name == "nl":
        yield re.compile(r"(?<!\w)(\d{1,2})(?:e|de|ste)(?!\w)"), _ordinal_number
    if name == "ru":
        yield re.compile(r"(?<!\w)(\d{1,2})-й(?!\w)"), _ordinal_number
        yield re.compile(r"(?<!\w)(1\d|20)(\d)0-\u0445(?!\w)"), _russian_decade
    if name == "es":
        yield re.compile(r"(?<!\w)(\d{1,2})\.?º(?!\w)"), _ordinal_number
    if name == "tr":
        yield re.compile(rf"(?<!\S)({_ROMAN})\.(?= \w)"), _century
        yield re.compile(r"(?<!\S)(\d{1,2})\.(?= [^\W\d_])"), _ordinal_number


def _any_of(words: Iterable[str], pattern: str) -> re.Pattern[str]:
    """A pattern with the given words in place of `{0}`, the longest first."""
    return re.compile(pattern.replace("{0}", "|".join(map(re.escape, sorted(words, key=len, reverse=True)))))


def _forms(language: _Language) -> SpokenForms:
    assert language.forms is not None
    return language.forms


def _plain_number(language: _Language, number: str) -> tuple[str, str]:
    """The whole part of a number without groups, and its decimals."""
    decimal = _forms(language).decimal
    group = "," if decimal == "." else "."
    whole, mark, decimals = number.rpartition(decimal)
    if not mark:
        whole, decimals = number, ""
    elif len(decimals) == 3 and (number.count(decimal) > 1 or (decimal == "," and language.name == "en")):
        whole, decimals = whole + decimals, ""
    # `2.5` in a language that writes 2,5: a group has three digits.
    head, mark, tail = whole.rpartition(group)
    if mark and not decimals and len(tail) != 3 and head.isdigit():
        whole, decimals = head, tail
    return "".join(filter(str.isdigit, whole)) or "0", decimals


def _spoken_number(language: _Language, number: str) -> str:
    whole, decimals = _plain_number(language, number)
    return f"{whole}{_forms(language).decimal}{decimals}" if decimals else whole


def _plural(language: _Language, whole: str, decimals: str, forms: str) -> str:
    """The form of a word for a number."""
    choices, count = forms.split("|"), int(whole)
    if len(choices) == 3:
        if decimals:
            return choices[1]
        few = count % 10 in (2, 3, 4) and count % 100 not in (12, 13, 14)
        one = count == 1 if language.name == "pl" else count % 10 == 1 and count % 100 != 11
        return choices[0] if one else choices[1] if few else choices[2]
    is_one = count < 2 if language.name == "fr" else count == 1 and not decimals
    return choices[0] if is_one else choices[1]


def _abbreviation(language: _Language, match: re.Match[str]) -> str:
    # At the end of a sentence, its full stop ends the sentence, too.
    ends = match.end() == len(match.string) and match[0].endswith(".")
    return _forms(language).abbreviations[match[0]] + ("." if ends else "")


def _date(language: _Language, match: re.Match[str]) -> str:
    first, second = int(match[1]), int(match[3])
    month_first = _forms(language).month_first and match[2] == "/" and language.region in ("", "US", "CA", "PH")
    day, month = (second, first) if month_first else (first, second)
    return _write_date(language, match, day, month, match[4])


def _iso_date(language: _Language, match: re.Match[str]) -> str:
    return _write_date(language, match, int(match[3]), int(match[2]), match[1])


def _write_date(language: _Language, match: re.Match[str], day: int, month: int, year: str) -> str:
    forms = _forms(language)
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return ""
    spoken = forms.day_ordinals[day - 1] if forms.day_ordinals else str(day)
    if language.name == "de":
        spoken = _decline(spoken, _word_before(match))
    return forms.date.format(day=spoken, month=forms.months[month - 1], year=_write_year(forms, year))


def _word_before(match: re.Match[str]) -> str:
    words = match.string[max(0, match.start() - 40) : match.start()].split()
    return words[-1] if words else ""


def _decline(ordinal: str, before: str) -> str:
    return f"{ordinal[:-1]}n" if before.lower() in _DATIVE else ordinal


def _amount_after_sign(language: _Language, match: re.Match[str]) -> str:
    return _amount(language, match[2], match[3] or "", match[1])


def _amount_before_sign(language: _Language, match: re.Match[str]) -> str:
    return _amount(language, match[1], match[2] or "", match[3])


def _amount(language: _Language, number: str, magnitude: str, sign: str) -> str:
    forms = _forms(language)
    units, _, hundredths = forms.currencies[sign].partition("/")
    whole, decimals = _plain_number(language, number)
    if magnitude:
        magnitude = forms.abbreviations.get(magnitude, magnitude)
        return f"{_spoken_number(language, number)} {magnitude} {units.split('|')[-1]}"
    if len(decimals) not in (0, 2):
        return f"{_spoken_number(language, number)} {units.split('|')[-1]}"
    unit = _plural(language, whole, "", units)
    if not decimals.strip("0"):
        return f"{whole} {unit}"
    cent = _plural(language, decimals, "", hundredths) if hundredths else ""
    return " ".join(filter(None, (whole, unit, forms.cents, decimals.lstrip("0"), cent)))


def _quantity(language: _Language, match: re.Match[str]) -> str:
    whole, decimals = _plain_number(language, match[1])
    unit = _plural(language, whole, decimals, _forms(language).units[match[2]])
    return f"{_spoken_number(language, match[1])} {unit}"


def _number_sign(language: _Language, match: re.Match[str]) -> str:
    return f"{_forms(language).number} {match[1]}"


def _ruler(language: _Language, match: re.Match[str]) -> str:
    forms, name, number = _forms(language), match[1], _read_roman(match[2])
    is_queen = name in QUEENS
    if not is_queen and name not in KINGS:
        # Only after a name, `World War II` or `Chapter IV`; one letter may be anything.
        return f"{name} {number}{match[3] or ''}" if name[0].isupper() and len(match[2]) > 1 else ""
    ordinals = forms.feminine_ordinals if is_queen and forms.feminine_ordinals else forms.ordinals
    spoken = ordinals[number - 1] if number <= len(ordinals) else str(number)
    if not forms.ruler:
        return ""
    phrase = (forms.queen if is_queen and forms.queen else forms.ruler).format(number=spoken)
    return f"{name} {phrase}" + ("." if match[3] and match.end() == len(match.string) else "")


def _century(language: _Language, match: re.Match[str]) -> str:
    number = _read_roman(match[1])
    if language.name == "fr":
        return _french_number(number)
    return _forms(language).ordinals[number - 1] if number <= len(_forms(language).ordinals) else ""


def _french_number(number: int) -> str:
    return FRENCH_ORDINALS[number - 1] if 0 < number <= len(FRENCH_ORDINALS) else ""


def _read_roman(numeral: str) -> int:
    values = [_ROMAN_VALUES[letter] for letter in numeral]
    following = [*values[1:], 0]
    return sum(-value if value < after else value for value, after in zip(values, following, strict=True))


def _year(language: _Language, match: re.Match[str]) -> str:
    spoken = _write_year(_forms(language), match[2])
    return f"{match[1]} {spoken}" if spoken != match[2] else ""


def _write_year(forms: SpokenForms, year: str) -> str:
    hundreds = forms.hundreds.get(year[:2])
    if hundreds is None or (year[:2] == "20" and year[2] == "0"):
        return year
    if year[2:] == "00":
        return f"{hundreds} hundred" if hundreds == year[:2] and forms.decimal == "." else year
    if not hundreds.isdigit():
        return f"{hundreds} {year[2:].lstrip('0')}"
    if year[2] != "0":
        return f"{hundreds} {year[2:]}"
    return f"{hundreds} o {year[3]}" if forms.decimal == "." else year


def _full_hour(language: _Language, match: re.Match[str]) -> str:
    return f"{match[1]} o'clock"


def _english_decade(language: _Language, match: re.Match[str]) -> str:
    if match[2] == "0":
        return "two thousands" if match[1] == "20" else f"{match[1]} hundreds"
    return f"{match[1]} {_DECADES[match[2]]}"


def _english_fraction(language: _Language, match: re.Match[str]) -> str:
    return {"1/2": "one half", "1/4": "one quarter", "3/4": "three quarters", "3/2": "three halves"}[match[0]]


def _german_ordinal(language: _Language, match: re.Match[str]) -> str:
    number, before = int(match[2]), match[1] or ""
    ordinals = _forms(language).day_ordinals
    if not 1 <= number <= len(ordinals):
        return ""
    spoken = _decline(ordinals[number - 1], before)
    if before.lower() in ("das", "die"):
        spoken = spoken[:-1]
    return f"{before} {spoken}".strip()


def _german_decade(language: _Language, match: re.Match[str]) -> str:
    if match[2] == "0":
        return ""
    return f"{_forms(language).hundreds[match[1]]}{_GERMAN_DECADES[match[2]]}"


def _russian_decade(language: _Language, match: re.Match[str]) -> str:
    return f"{match[1]}00 {_RUSSIAN_DECADES[match[2]]}" if match[2] in _RUSSIAN_DECADES else ""


def _french_ordinal(language: _Language, match: re.Match[str]) -> str:
    return _french_number(int(match[1])) if match[1] != "1" else ""


def _ordinal_number(language: _Language, match: re.Match[str]) -> str:
    number, ordinals = int(match[1]), _forms(language).ordinals
    return ordinals[number - 1] if 1 <= number <= len(ordinals) else ""


def _telephone(language: _Language, match: re.Match[str]) -> str:
    groups = re.findall(r"\d+", match[0])
    spoken = ", ".join(" ".join(group) for group in groups)
    return f"+ {spoken}" if match[0].startswith("+") else spoken
