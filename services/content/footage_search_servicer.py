"""The edge of FootageSearchService, the public search: protobuf in, one call of the domain, protobuf out."""

from __future__ import annotations

from typing import Any

from moneyprinter.content.v1 import footage_search_service_pb2 as pb
from moneyprinter.content.v1 import footage_search_service_pb2_grpc as pb_grpc
from services.content.footage.clips import FootageClip, Orientation, Shape
from services.content.footage.pool import FootagePool
from services.content.footage.search import DEFAULT_CLIPS, SearchRequest, search_footage
from services.content.footage_servicer import AUTO, skipped_notices
from services.content.messages import from_flags
from services.content.moderation.checks import TextChecks
from services.content.moderation.moderation import FieldText
from services.runtime import identity

_SEARCH_FOOTAGE = "/moneyprinter.content.v1.FootageSearchService/SearchFootage"


class FootageSearchServicer(pb_grpc.FootageSearchServiceServicer):
    """Clips of providers, without a video."""

    def __init__(self, pool: FootagePool, checks: TextChecks) -> None:
        self._pool = pool
        self._checks = checks

    async def SearchFootage(self, request: pb.SearchFootageRequest, context: Any) -> pb.SearchFootageResponse:
        flags = await self._checks.check([FieldText("terms", request.terms)], _SEARCH_FOOTAGE)
        wanted = request.source if request.source != AUTO else ""
        search = SearchRequest(
            " ".join(request.terms.split()),
            request.language or "en",
            Orientation(request.orientation) if request.orientation else None,
            Shape(request.min_width, request.min_height),
            request.min_seconds,
            request.max_seconds,
            request.page_size or DEFAULT_CLIPS,
        )
        result = await search_footage(search, await self._pool.find_sources(wanted, identity.user().id), wanted)
        notices = [*skipped_notices(result.skipped), *from_flags(flags)]
        return pb.SearchFootageResponse(clips=map(_from_clip, result.clips), notices=notices)


def _from_clip(clip: FootageClip) -> pb.FootageClip:
    message = pb.FootageClip(
        id=clip.key,
        url=clip.url,
        width=clip.width,
        height=clip.height,
        seconds=clip.seconds,
        preview_url=clip.preview_url,
    )
    if credit := clip.credit:
        message.provider, message.page_url = credit.provider, credit.page_url
        message.author, message.author_url = credit.author, credit.author_url
        message.licence, message.licence_url = credit.licence, credit.licence_url
    return message
