"""Ranking: order the clips that were found for a scene, the best ones first, by words or by meaning."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from services.content.footage.clips import FootageClip, Shape
from services.content.footage.words import overlap, word_set
from services.content.threads import run_in_thread

Ranked = list[tuple[float, FootageClip]]
Rank = Callable[[Sequence[FootageClip], str, str, Shape], Awaitable[Ranked]]
"""Returns clips with their scores, the best first, for a query, a narration and the shape of the video."""

Compare = Callable[[str, Sequence[str]], Sequence[float]]
"""Returns how similar the meaning of each of several texts is to that of a text, up to 1."""

# How much each criterion counts. The order of the source is that of its own search, which has seen more than words.
_QUERY, _NARRATION, _ORIENTATION, _SIZE = 1.0, 0.5, 0.8, 0.3
_PLACE, _LAST_PLACE = 0.02, 30
# The similarity of clips without a description: that of texts with little in common.
_UNKNOWN = 0.2


async def rank_by_words(clips: Sequence[FootageClip], query: str, narration: str, shape: Shape) -> Ranked:
    """Return the clips with their scores, the best first.

    A score counts the words of the query and of the narration in the clip's description, whether the clip has the
    orientation of the video and covers it, and its place among the results of its source.
    """
    wanted, spoken = word_set(query), word_set(narration)
    described = [word_set(clip.description) for clip in clips]
    scores = [_QUERY * overlap(wanted, words) + _NARRATION * overlap(spoken, words) for words in described]
    return _rank(clips, scores, shape)


def rank_by_meaning(compare: Compare) -> Rank:
    """Return a ranking like `rank_by_words` that compares meanings in place of words. `compare` runs in a thread."""

    async def rank(clips: Sequence[FootageClip], query: str, narration: str, shape: Shape) -> Ranked:
        texts = [clip.description for clip in clips]
        scores = [0.0] * len(clips)
        for wanted, weight in ((query, _QUERY), (narration, _NARRATION)):
            if wanted and any(texts):
                similarities = await run_in_thread(compare, wanted, texts)
                for place, similarity in enumerate(similarities):
                    scores[place] += weight * (similarity if texts[place] else _UNKNOWN)
        return _rank(clips, scores, shape)

    return rank


def _rank(clips: Sequence[FootageClip], scores: Sequence[float], shape: Shape) -> Ranked:
    scored = [
        (score + _score_shape(clip, shape) - _PLACE * min(place, _LAST_PLACE), clip)
        for place, (score, clip) in enumerate(zip(scores, clips, strict=True))
    ]
    return sorted(scored, key=lambda pair: -pair[0])


def _score_shape(clip: FootageClip, shape: Shape) -> float:
    if not clip.width or not clip.height:
        return 0.0
    score = _ORIENTATION if Shape(clip.width, clip.height).orientation is shape.orientation else 0.0
    # The part of the video's width or height, whichever is less, that the clip has when it covers the video.
    scale = min(clip.width / shape.width, clip.height / shape.height)
    return score + _SIZE * min(1.0, scale)
