"""Search: find clips for a caller, of the first provider that has some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from moneyprinter.errors import FailedPrecondition, Unavailable
from services.content.footage.clips import ANY_SHAPE, FootageClip, FootageQuery, FootageSource, Orientation, Shape
from services.providers.chain import Skipped
from services.providers.failures import ProviderFailure

DEFAULT_CLIPS = 20
# More than are wanted, since those of another size or duration are left out.
MAX_CLIPS = 80
# Without a least size, files for a video of full HD are chosen.
_COVERS = {
    None: Shape(1280, 720),
    Orientation.LANDSCAPE: Shape(1920, 1080),
    Orientation.PORTRAIT: Shape(1080, 1920),
    Orientation.SQUARE: Shape(1080, 1080),
}


@dataclass(frozen=True)
class SearchRequest:
    """What a caller searches for; 0 is any."""

    words: str
    language: str = "en"
    orientation: Orientation | None = None
    least: Shape = ANY_SHAPE
    min_seconds: float = 0.0
    max_seconds: float = 0.0
    limit: int = DEFAULT_CLIPS


@dataclass(frozen=True)
class SearchResult:
    """The clips that were found, and the providers that failed."""

    clips: Sequence[FootageClip]
    skipped: Sequence[Skipped]


async def search_footage(request: SearchRequest, sources: Sequence[FootageSource], wanted: str = "") -> SearchResult:
    """Return the clips of the first source that has clips of the requested size and duration.

    `wanted` is the name of the provider, for errors. Raises `FailedPrecondition` with FOOTAGE_PROVIDER_MISSING when
    there is no source, and `Unavailable` with FOOTAGE_UNAVAILABLE when all of them fail.
    """
    if not sources:
        message = (
            f"this deployment has no key for {wanted or 'any provider of footage'}; an operator adds one to the secret"
            " content/providers"
        )
        raise FailedPrecondition(message, reason="FOOTAGE_PROVIDER_MISSING")
    cover = request.least if request.least != ANY_SHAPE else _COVERS[request.orientation]
    query = FootageQuery(request.words, request.language, request.orientation, cover, MAX_CLIPS)
    skipped = []
    for source in sources:
        try:
            found = await source.search(query)
        except ProviderFailure as failure:
            skipped.append(Skipped(source.name, failure.kind, failure.message))
            continue
        if clips := [clip for clip in found if _fits(clip, request)]:
            return SearchResult(clips[: request.limit], skipped)
    if len(skipped) == len(sources):
        raise Unavailable("; ".join(each.message for each in skipped), reason="FOOTAGE_UNAVAILABLE")
    return SearchResult((), skipped)


def _fits(clip: FootageClip, request: SearchRequest) -> bool:
    return (
        clip.width >= request.least.width
        and clip.height >= request.least.height
        and (request.orientation is None or Shape(clip.width, clip.height).orientation is request.orientation)
        and clip.seconds >= request.min_seconds
        and (not request.max_seconds or clip.seconds <= request.max_seconds)
    )
