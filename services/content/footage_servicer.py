"""The edge of FootageService: protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration

from moneyprinter.content.v1 import footage_service_pb2 as pb
from moneyprinter.content.v1 import footage_service_pb2_grpc as pb_grpc
from moneyprinter.media.v1 import media_pb2
from services.content.footage.backgrounds import Background
from services.content.footage.choice import Choice, ChoiceRequest, Cut, Scene, choose_footage
from services.content.footage.clips import FootageSource, Shape
from services.content.footage.library import Library, LibraryAsset
from services.content.footage.pool import FootagePool
from services.content.footage.ranking import Rank, rank_by_words
from services.content.moderation.checks import TextChecks
from services.content.moderation.moderation import PATIENT_SECONDS, FieldText
from services.providers.chain import Skipped

NOT_FOUND = "FOOTAGE_NOT_FOUND"
"""The reason of a notice: no clip was found for some scenes."""
REUSED = "FOOTAGE_REUSED"
"""The reason of a notice: an earlier video of the user has some of the clips."""

PROVIDER_FAILED = "FOOTAGE_PROVIDER_FAILED"
"""The reason of a notice: a provider of footage failed, or has no key."""

AUTO, LIBRARY, NONE = "auto", "library", "none"
# The audit log records what is refused here as a check of texts.
_CHECK_TEXTS = "/moneyprinter.content.v1.ContentService/CheckTexts"
# The most scenes that a notice lists.
MAX_LISTED = 20


class FootageServicer(pb_grpc.FootageServiceServicer):
    """Clips for scenes."""

    def __init__(self, pool: FootagePool, rank_english: Rank = rank_by_words, checks: TextChecks | None = None) -> None:
        self._pool = pool
        self._rank_english = rank_english
        self._checks = checks

    async def ChooseFootage(self, request: pb.ChooseFootageRequest, context: Any) -> pb.ChooseFootageResponse:
        await self._check_terms(request)
        offered = await self._pool.find_sources(account_id=request.account_id)
        sources = _choose_sources(request, offered)
        rank = self._rank_english if request.language in ("", "en") else rank_by_words
        choice = await choose_footage(_to_request(request), sources, rank)
        notices = [*skipped_notices(choice.skipped), *_notices(choice, request.source, has_provider=bool(offered))]
        if not sources and request.source != NONE:
            message = f"{request.source} has no key in this deployment; an operator adds one to content/providers"
            notices.insert(0, media_pb2.Notice(reason=PROVIDER_FAILED, message=message))
        return pb.ChooseFootageResponse(
            scenes=[pb.SceneFootage(cuts=map(_from_cut, cuts)) for cuts in choice.scenes], notices=notices
        )

    async def _check_terms(self, request: pb.ChooseFootageRequest) -> None:
        """Raise `InvalidArgument` (CONTENT_REFUSED) for a term that the policy refuses; others were flagged before."""
        terms = dict.fromkeys(term for scene in request.scenes for term in scene.terms)
        if self._checks and terms:
            text = FieldText("search_terms", "\n".join(terms))
            await self._checks.check(
                [text], _CHECK_TEXTS, flagged_before=[text.field], provider_seconds=PATIENT_SECONDS
            )


def _choose_sources(request: pb.ChooseFootageRequest, offered: Sequence[FootageSource]) -> list[FootageSource]:
    match request.source:
        case "none":
            return []
        case "library":
            return [_to_library(request)]
        case "" | "auto":
            return [_to_library(request), *offered]
        case provider:
            return [source for source in offered if source.name == provider]


def _to_library(request: pb.ChooseFootageRequest) -> Library:
    assets = [
        LibraryAsset(each.asset_id, each.filename, each.width, each.height, each.duration.ToTimedelta().total_seconds())
        for each in request.assets
    ]
    return Library(assets, all_match=request.source == LIBRARY)


def _to_request(request: pb.ChooseFootageRequest) -> ChoiceRequest:
    scenes = tuple(Scene(tuple(scene.terms), scene.narration, scene.duration.ToTimedelta()) for scene in request.scenes)
    return ChoiceRequest(
        scenes,
        request.topic,
        Shape(request.width, request.height),
        request.language or "en",
        tuple(request.used_ids),
        frozenset(request.excluded_ids),
    )


def _from_cut(cut: Cut) -> pb.FootageCut:
    message = pb.FootageCut(
        id=cut.shows.key, start=_duration(cut.start), duration=_duration(cut.duration), query=cut.query
    )
    match cut.shows:
        case Background(seed, colours):
            message.background.CopyFrom(media_pb2.Background(seed=seed, colours=colours))
        case clip:
            message.width, message.height = clip.width, clip.height
            if clip.asset_id:
                message.asset_id = clip.asset_id
            else:
                message.url = clip.url
            if clip.credit:
                message.credit.CopyFrom(media_pb2.Credit(**asdict(clip.credit)))
    return message


def skipped_notices(skipped: Sequence[Skipped]) -> list[media_pb2.Notice]:
    """Return a notice for each provider that failed."""
    return [media_pb2.Notice(reason=PROVIDER_FAILED, message=each.message[:1000]) for each in skipped]


def _notices(choice: Choice, source: str, *, has_provider: bool) -> Iterator[media_pb2.Notice]:
    if choice.drawn_scenes and source != NONE:
        scenes = ", ".join(str(index + 1) for index in choice.drawn_scenes[:MAX_LISTED])
        more = ", ..." if len(choice.drawn_scenes) > MAX_LISTED else ""
        if has_provider:
            why, advice = "too few clips were found", "upload clips, or search for other terms"
        else:
            why, advice = "no provider of footage has a key, and no upload fits", "add a key, or upload clips"
        noun = "scenes" if len(choice.drawn_scenes) > 1 else "scene"
        message = f"{noun} {scenes}{more}: {why}, so that animated backgrounds are shown; {advice}"
        yield media_pb2.Notice(reason=NOT_FOUND, message=message)
    if choice.reused_keys:
        message = (
            f"clips of earlier videos are shown again, since no others were found: {', '.join(choice.reused_keys)}"
        )
        yield media_pb2.Notice(reason=REUSED, message=message[:1000])


def _duration(value: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(value)
    return message
