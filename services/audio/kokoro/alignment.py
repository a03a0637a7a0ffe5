"""Alignment of phonemes: assign the phonemes of a clause to its words, by the phonemes of each word alone."""

from __future__ import annotations

from collections.abc import Sequence

# Stress marks and blanks.
_SOUNDLESS = "ˈˌ "
_VOWELS = frozenset("AIOQWYaeiouyæɐɑɒɔəɚɛɜɨɪɯɵøœʊʌᵊᵻ")
# The most steps of a comparison; beyond it, the words share the phonemes by their lengths.
_MAX_STEPS = 250_000


def align_phonemes(clause: str, words: Sequence[str]) -> list[int]:
    """Return for each character of a clause the number of its word; -1 for blanks between words.

    Args:
        clause: The phonemes of the clause, with a blank between most words.
        words: The phonemes of each word alone; a number may have several blanks, an unspoken word nothing.
    """
    groups = clause.split(" ")
    spoken = [number for number, word in enumerate(words) if word]
    if not spoken:
        return [-1 if character == " " else 0 for character in clause] if words else [-1] * len(clause)
    if len(groups) == len(spoken) and not any(" " in words[number] for number in spoken):
        owners = [number for group, number in zip(groups, spoken, strict=True) for _ in range(len(group) + 1)][:-1]
    else:
        owners = _assign(clause, words, spoken)
    return [
        # A blank within one word, such as a number, belongs to it.
        -1 if character == " " and owners[place - 1] != owners[min(place + 1, len(owners) - 1)] else owners[place]
        for place, character in enumerate(clause)
    ]


def _assign(clause: str, words: Sequence[str], spoken: Sequence[int]) -> list[int]:
    sounds = [(place, character) for place, character in enumerate(clause) if character not in _SOUNDLESS]
    reference = [(number, character) for number in spoken for character in words[number] if character not in _SOUNDLESS]
    if not sounds or not reference:
        return [spoken[0]] * len(clause)
    found = _match([c for _, c in sounds], [c for _, c in reference])
    owner_of = {place: reference[index][0] for (place, _), index in zip(sounds, found, strict=True)}
    owners: list[int] = []
    following = reference[-1][0]
    # Stress marks and blanks belong to the sound after them.
    for place in range(len(clause) - 1, -1, -1):
        following = owner_of.get(place, following)
        owners.append(following)
    return _snap_to_blanks(clause, owners[::-1])


def _snap_to_blanks(clause: str, owners: list[int]) -> list[int]:
    """Move the bounds of words to blanks at most two sounds away: espeak-ng writes one at most of them."""
    for bound in [n for n in range(1, len(owners)) if owners[n] != owners[n - 1]]:
        before, after = owners[bound - 1], owners[bound]
        near = sorted(range(max(1, bound - 2), min(len(owners), bound + 3)), key=lambda n: abs(n - bound))
        blank = next((n for n in near if clause[n] == " "), None)
        if blank is None:
            continue
        span = range(min(bound, blank), max(bound, blank) + 1)
        if all(owners[n] in (before, after) for n in span):
            for n in span:
                owners[n] = before if n < blank else after
    return owners


def _match(sounds: Sequence[str], reference: Sequence[str]) -> list[int]:
    """Return for each sound the index of the sound of the reference that it corresponds to, in ascending order."""
    rows, columns = len(sounds), len(reference)
    if rows * columns > _MAX_STEPS:
        return [row * columns // rows for row in range(rows)]
    costs = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    for row in range(1, rows + 1):
        costs[row][0] = row
    costs[0] = [float(column) for column in range(columns + 1)]
    for row in range(1, rows + 1):
        above, here, sound = costs[row - 1], costs[row], sounds[row - 1]
        for column in range(1, columns + 1):
            replaced = above[column - 1] + _difference(sound, reference[column - 1])
            here[column] = min(replaced, above[column] + 1.0, here[column - 1] + 1.0)
    found = [0] * rows
    row, column = rows, columns
    while row:
        if column and costs[row][column] == costs[row - 1][column - 1] + _difference(
            sounds[row - 1], reference[column - 1]
        ):
            row, column = row - 1, column - 1
            found[row] = column
        elif costs[row][column] == costs[row - 1][column] + 1.0:
            row -= 1
            found[row] = max(0, min(column, columns - 1) - (1 if column else 0))
        else:
            column -= 1
    return found


def _difference(one: str, other: str) -> float:
    if one == other:
        return 0.0
    return 0.5 if (one in _VOWELS) == (other in _VOWELS) else 1.5
