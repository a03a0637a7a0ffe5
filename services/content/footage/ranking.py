"""Ranking: order the clips that were found for a scene, the best ones first."""

from __future__ import annotations

from collections.abc import Sequence

from services.content.footage.clips import FootageClip, Shape
from services.content.footage.words import overlap, word_set

# How much each criterion counts. The order of the source is that of its own search, which has seen more than words.
_QUERY, _NARRATION, _ORIENTATION, _SIZE = 1.0, 0.5, 0.8, 0.3
_PLACE, _LAST_PLACE = 0.02, 30


def rank_by_words(
    clips: Sequence[FootageClip], query: str, narration: str, shape: Shape
) -> list[tuple[float, FootageClip]]:
    """Return the clips with their scores, the best first.

    A score counts the words of the query and of the narration in the clip's description, whether the clip has the
    orientation of the video and covers it, and its place among the results of its source.
    """
    wanted, spoken = word_set(query), word_set(narration)
    scored = []
    for place, clip in enumerate(clips):
        described = word_set(clip.description)
        score = _QUERY * overlap(wanted, described) + _NARRATION * overlap(spoken, described)
        score += _score_shape(clip, shape) - _PLACE * min(place, _LAST_PLACE)
        scored.append((score, clip))
    return sorted(scored, key=lambda pair: -pair[0])


def _score_shape(clip: FootageClip, shape: Shape) -> float:
    if not clip.width or not clip.height:
        return 0.0
    score = _ORIENTATION if Shape(clip.width, clip.height).orientation is shape.orientation else 0.0
    # The part of the video's width or height, whichever is less, that the clip has when it covers the video.
    scale = min(clip.width / shape.width, clip.height / shape.height)
    return score + _SIZE * min(1.0, scale)
