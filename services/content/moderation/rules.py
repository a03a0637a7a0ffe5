"""Rules: find the words and phrases of the rule lists in a text, also in disguised spellings.

The lists are the files `rules/<language>.txt`. A line `[hate]` begins a category; each other line is a word or a
phrase. A `+` at its end also matches up to four more letters, for endings. Every list is applied to every text, since
a text may hold other languages than the one that its request names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from services.content.moderation.folding import Folded, is_written_letter
from services.content.moderation.policy import Category

RULES = Path(__file__).parent / "rules"

# The longest ending after a word with `+`, in runs of equal letters.
_ENDING = 4
# A word that is spelled in single letters needs this many, since initials and lists have fewer.
_SPELLED_LETTERS = 4
_SPELLED_STARTS = 40
# A letter may be written as this many runs, such as `a4@`, and words of a phrase be this many characters apart.
_RUNS_OF_A_LETTER, _DISTANCE = 6, 8
# A run of this many letters is an emphasis, whatever the rule has. Of these vowels no language doubles, two are.
_EMPHASIS, _EMPHASIZED = 3, "aiu"
# Prefixes that Arabic writes without a space: the article, "and", "with", "for".
_ARABIC_PREFIXES = ("", "ال", "و", "وال", "بال", "لل")
# The most matches of one text: enough to correct it.
MAX_MATCHES = 20


@dataclass(frozen=True)
class Match:
    """A place of a text, as offsets of its characters (code points); `end` is the offset after the last one."""

    category: Category
    start: int
    end: int


@dataclass(eq=False)
class _Node:
    """A node of the tree of rules, whose edges are letters with their number; a space separates words."""

    edges: dict[str, dict[int, _Node]] = field(default_factory=dict)
    category: Category | None = None
    """The category of the rule that ends here."""
    has_endings: bool = False
    """Whether an ending may follow that rule."""
    letter_count: int = 0
    """The number of letters of that rule."""


class RuleList:
    """The words and phrases of all languages."""

    def __init__(self, entries: Iterable[tuple[Category, str]]) -> None:
        self._words = _Node()
        self._substrings = _Node()
        self._heads: set[str] = set()
        """The first two letters of each rule; a space ends a word."""
        for category, entry in entries:
            text = entry.removesuffix("+")
            is_unspaced = _is_unspaced(text)
            prefixes = _ARABIC_PREFIXES if "\u0600" <= text[0] <= "\u06ff" else ("",)
            for prefix in prefixes:
                node = _insert(self._substrings if is_unspaced else self._words, f"{prefix}{text}")
                first, *others = Folded(f"{prefix}{text}").letters
                self._heads.add(f"{first}{(others or ' ')[0] or ' '}")
                node.category = category
                node.has_endings = node.has_endings or entry.endswith("+")

    def find_matches(self, text: str) -> list[Match]:
        """Return the matches in a text, in the order of their place, each category once for one place.

        The time grows with the length of the text, whatever it holds.
        """
        folded = Folded(text)
        found: dict[tuple[Category, int], Match] = {}
        for match in (*self._find_words(folded, text), *self._find_spelled(folded, text)):
            key = (match.category, match.start)
            if key not in found or found[key].end < match.end:
                found[key] = match
        return sorted(found.values(), key=lambda match: (match.start, match.end))[:MAX_MATCHES]

    def _find_words(self, folded: Folded, text: str) -> Iterator[Match]:
        is_boundary = True
        for start, letters in enumerate(folded.letters):
            if letters and is_boundary and self._may_begin(folded, start):
                for end, node in _walk(self._words, folded, start, spelled=False):
                    word_end = _find_word_end(folded, end, node)
                    if word_end and (match := _to_match(folded, text, start, word_end, node)):
                        yield match
            if letters and letters[0] in self._substrings.edges:
                for end, node in _walk(self._substrings, folded, start, spelled=False):
                    if match := _to_match(folded, text, start, end, node):
                        yield match
            is_boundary = not letters or folded.soft[start]

    def _may_begin(self, folded: Folded, start: int) -> bool:
        """Whether the first two runs are those of a rule: most words are not, and need no walk through the tree."""
        after = start + 1
        if after < len(folded) and not folded.letters[after]:
            is_split = not folded.blank[after] and after + 1 < len(folded)
            seconds = f" {folded.letters[after + 1]}" if is_split else " "
        else:
            seconds = f"{folded.letters[after]} " if after < len(folded) else " "
        # An equal letter is the same one, written as several runs such as `a4`.
        pairs = ((first, second) for first in folded.letters[start] for second in seconds)
        return any(first == second or f"{first}{second}" in self._heads for first, second in pairs)

    def _find_spelled(self, folded: Folded, text: str) -> Iterator[Match]:
        """Find words whose letters stand alone (`w o r d`), at the begin or the end of such a sequence."""
        for first, last in _spelled_sequences(folded):
            # Two runs a letter, the letter and its separator. Each rule has fewer letters.
            for start in dict.fromkeys((first, *range(first, last, 2)[-_SPELLED_STARTS:])):
                for end, node in _walk(self._words, folded, start, spelled=True):
                    is_at_edge = start == first or end >= last
                    is_word = node.letter_count >= _SPELLED_LETTERS and is_at_edge and end <= last
                    if is_word and (match := _to_match(folded, text, start, end, node)):
                        yield match


def _walk(root: _Node, folded: Folded, start: int, *, spelled: bool) -> Iterator[tuple[int, _Node]]:
    """Yield the ends of all rules that begin at a run: the index of the run after the rule, and its node."""
    pending, visited = [(root, start)], set()
    while pending:
        node, index = state = pending.pop()
        if state in visited:
            continue
        visited.add(state)
        if node.category is not None:
            yield index, node
        if index >= len(folded):
            continue
        if node is not root and (not folded.letters[index] or folded.soft[index]):
            pending += _skip_separators(node, folded, index, spelled=spelled)
        for letter in folded.letters[index]:
            if letter in node.edges:
                pending += _follow(node, folded, index, letter, spelled=spelled)


def _skip_separators(node: _Node, folded: Folded, index: int, *, spelled: bool) -> list[tuple[_Node, int]]:
    """Return where a rule goes on after a separator: at its next word, or within a word that a separator splits."""
    length, after = folded.counts[index], index + 1
    # White space may follow a punctuation mark that may be a letter.
    if folded.letters[index] and after < len(folded) and not folded.letters[after]:
        length, after = length + folded.counts[after], after + 1
    found = [(node.edges[" "][1], after)] if " " in node.edges and length <= _DISTANCE else []
    is_inside = spelled or not any(folded.blank[index:after])
    if is_inside and length <= _EMPHASIS and after < len(folded):
        for letter in folded.letters[after]:
            if letter in node.edges:
                found += _follow(node, folded, after, letter, spelled=spelled)
    return found


def _follow(node: _Node, folded: Folded, index: int, letter: str, *, spelled: bool) -> list[tuple[_Node, int]]:
    """Return the nodes after one or several equal letters, each with the index after the runs that stand for them."""
    edges, followed, total, size = node.edges[letter], [], 0, len(folded)
    for _ in range(_RUNS_OF_A_LETTER):
        if index >= size or letter not in folded.letters[index]:
            break
        total += folded.counts[index]
        index += 1
        for count, child in edges.items():
            if total == count or (total > count and (total >= _EMPHASIS or letter in _EMPHASIZED)):
                followed.append((child, index))
        # Equal letters with a mark between them, such as `s.s`.
        is_split = index < size and not folded.letters[index] and folded.counts[index] == 1
        if is_split and (spelled or not folded.blank[index]):
            index += 1
    return followed


def _find_word_end(folded: Folded, end: int, node: _Node) -> int:
    """Return the end of a word, after an ending when the rule has endings; 0 when the word goes on."""
    ends = range(end, end + (_ENDING + 1 if node.has_endings else 1))
    return next((index for index in ends if folded.is_separator(index)), 0)


def _to_match(folded: Folded, text: str, start: int, end: int, node: _Node) -> Match | None:
    """Return the match of runs; None when most of it are digits and symbols, as in numbers and prices."""
    first, last = folded.starts[start], folded.ends[end - 1]
    letter_count = sum(map(is_written_letter, text[first:last]))
    if node.category is None or 2 * letter_count < node.letter_count:
        return None
    return Match(node.category, first, last)


def _spelled_sequences(folded: Folded) -> Iterator[tuple[int, int]]:
    """Yield the first run, and the one after the last, of each sequence of single letters with separators between."""
    index, size = 0, len(folded)
    while index < size:
        if not folded.letters[index] or not folded.is_separator(index - 1):
            index += 1
            continue
        first = index
        while index < size and folded.letters[index] and folded.is_separator(index + 1):
            index += 2
        if index - first >= 2 * _SPELLED_LETTERS - 1:
            yield first, min(index - 1, size)
        index += 1 if index == first else 0


def _insert(node: _Node, text: str) -> _Node:
    """Insert a rule into a tree, and return the node at its end. Raises `ValueError` for a rule without letters."""
    folded, letter_count = Folded(text), 0
    for letters, count in zip(folded.letters, folded.counts, strict=True):
        if len(letters) > 1 or (not letters and count > 1):
            raise ValueError(f"the rule {text!r} has other characters than letters and single spaces")
        letter_count += count if letters else 0
        node = node.edges.setdefault(letters or " ", {}).setdefault(count, _Node())
    node.letter_count = letter_count
    if not letter_count:
        raise ValueError("a rule has no letters")
    return node


def _is_unspaced(text: str) -> bool:
    """Whether a text is of a script without spaces between words, so that a rule may match anywhere."""
    return any("\u3040" <= character <= "\u30ff" or "\u4e00" <= character <= "\u9fff" for character in text)


def parse_rules(text: str) -> Iterator[tuple[Category, str]]:
    """Yield the entries of a rule file with their categories. Raises `ValueError` for an unknown category."""
    category: Category | None = None
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            category = Category(line.strip("[]"))
        elif line and not line.startswith("#"):
            if category is None:
                raise ValueError(f"the rule {line!r} stands before the first category")
            yield category, line


@cache
def load_rules() -> RuleList:
    """Return the rules of all languages. They are read once."""
    return RuleList(entry for texts in read_rules().values() for entry in texts)


def read_rules() -> Mapping[str, tuple[tuple[Category, str], ...]]:
    """Return the entries of each language, by the language's code."""
    return {path.stem: tuple(parse_rules(path.read_text("utf-8"))) for path in sorted(RULES.glob("*.txt"))}
