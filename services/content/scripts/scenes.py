"""Scenes: the parts of a script during which the same footage is shown, with the terms to search it by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from services.content.scripts.key_words import compare_key_words, find_key_words, find_phrase
from services.content.scripts.lengths import count_words, words_of_seconds

MAX_SEARCH_TERMS = 5
MAX_SCENES = 100
# The seconds of speech of a scene whose number the request leaves open.
_SCENE_SECONDS = 8.0


@dataclass(frozen=True)
class Scene:
    """Sentences that are spoken while the same footage is shown."""

    sentences: tuple[str, ...]
    """In order, with their punctuation."""
    search_terms: tuple[str, ...]
    """One to five terms to search footage by, the best first."""
    search_language: str
    """The language of the search terms (ISO 639); empty when unknown."""
    title: str = ""
    """The title to show on the screen; empty: none."""


def compose_scenes(
    topic: str, sentences: Sequence[str], language: str, count: int = 0, *, fits_any_topic: bool = False
) -> tuple[Scene, ...]:
    """Divide sentences into scenes of similar length, and take their search terms from their key words.

    Args:
        topic: The topic or the title: the title of the first scene, and the broadest search terms of each.
        sentences: The sentences, in order; at least one.
        language: Their language (ISO 639); empty when unknown.
        count: The number of scenes, at most one for each sentence; 0: about one for 8 seconds of speech.
        fits_any_topic: Whether the sentences are those of a template, so that the topic alone has search terms.
    """
    groups = group_sentences(sentences, language, count)
    texts = [" ".join(group) for group in groups]
    of_topic = _topic_terms(topic, language)
    key_words = [] if fits_any_topic else compare_key_words(texts, language, MAX_SEARCH_TERMS - 1)
    scenes = []
    for at, (group, text) in enumerate(zip(groups, texts, strict=True)):
        if fits_any_topic:
            # The same phrase finds most; the words after it change, so that the scenes do.
            words = of_topic[1:]
            turn = at % len(words) if words else 0
            terms = [*of_topic[:1], *words[turn:], *words[:turn]]
        else:
            terms = [*key_words[at], *of_topic]
        title = " ".join(topic.split()) if at == 0 else ""
        found = unique_terms(terms) or unique_terms([text]) or unique_terms([topic])
        scenes.append(Scene(group, found, language, title))
    return tuple(scenes)


def group_sentences(sentences: Sequence[str], language: str, count: int = 0) -> list[tuple[str, ...]]:
    """Divide sentences, in order, into `count` groups of similar length; none is empty.

    Args:
        sentences: The sentences; at least one.
        language: Their language (ISO 639).
        count: The number of groups, at most one for each sentence; 0: about one for 8 seconds of speech.
    """
    lengths = [max(1, count_words(sentence, language)) for sentence in sentences]
    total = sum(lengths)
    if not count:
        count = round(total / words_of_seconds(_SCENE_SECONDS, language))
    count = min(max(count, 1), len(sentences), MAX_SCENES)
    # A sentence belongs to the group in which its middle lies; then each empty group takes one from a neighbour.
    middles = [end - length / 2 for end, length in zip(accumulate(lengths), lengths, strict=True)]
    ends = [sum(middle < total * (group + 1) / count for middle in middles) for group in range(count)]
    ends[-1] = len(sentences)
    for group in range(count):
        ends[group] = min(max(ends[group], ends[group - 1] + 1 if group else 1), len(sentences) - (count - 1 - group))
    return [tuple(sentences[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def unique_terms(terms: Sequence[str]) -> tuple[str, ...]:
    """Return the first five search terms that differ by more than case, each with at most 60 characters."""
    found: dict[str, str] = {}
    for term in terms:
        line = " ".join(term.split())[:60].strip()
        if line:
            found.setdefault(line.casefold(), line)
    return tuple(found.values())[:MAX_SEARCH_TERMS]


def _topic_terms(topic: str, language: str) -> list[str]:
    """The search terms of a topic: its key words as a phrase, and each of them."""
    return [find_phrase(topic, language) or topic, *find_key_words(topic, language, MAX_SEARCH_TERMS - 1)]
