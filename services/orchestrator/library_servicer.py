"""The edge of the orchestrator for what an account keeps: LibraryService."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from moneyprinter.errors import NotFound
from moneyprinter.video.v1 import library_service_pb2 as pb
from moneyprinter.video.v1 import library_service_pb2_grpc as pb_grpc
from services.orchestrator.events.messages import format_timestamp
from services.orchestrator.jobs.options import Pronunciation
from services.orchestrator.video_messages import asset_fields
from services.orchestrator.videos.library import Library, Settings
from services.orchestrator.videos.quotas import max_month_cost
from services.runtime import identity


class LibraryServicer(pb_grpc.LibraryServiceServicer):
    """Serves LibraryService."""

    def __init__(self, library: Library, account_exists: Callable[[str], Awaitable[bool]]) -> None:
        self._library = library
        self._account_exists = account_exists

    async def ListAssets(self, request: pb.ListAssetsRequest, context: Any) -> pb.ListAssetsResponse:
        assets, next_page = await self._library.list_assets(identity.user().id, request.page_size, request.page_token)
        return pb.ListAssetsResponse(
            assets=[
                pb.Asset(**asset_fields(asset), create_time=format_timestamp(asset.create_time)) for asset in assets
            ],
            next_page_token=next_page,
        )

    async def DeleteAsset(self, request: pb.DeleteAssetRequest, context: Any) -> pb.DeleteAssetResponse:
        await self._library.delete_asset(identity.user().id, request.asset_id)
        return pb.DeleteAssetResponse()

    async def GetSettings(self, request: pb.GetSettingsRequest, context: Any) -> pb.GetSettingsResponse:
        settings = await self._library.store.get_settings(identity.user().id)
        return pb.GetSettingsResponse(settings=_to_message(settings))

    async def UpdateSettings(self, request: pb.UpdateSettingsRequest, context: Any) -> pb.UpdateSettingsResponse:
        user_id, new = identity.user().id, request.settings
        has_days, has_lexicon = new.HasField("retention_days"), new.HasField("lexicon")
        if has_days or has_lexicon:
            await self._library.store.update_settings(
                user_id,
                retention_days=new.retention_days if has_days else None,
                lexicon=_from_lexicon(new.lexicon) if has_lexicon else None,
            )
        return pb.UpdateSettingsResponse(settings=_to_message(await self._library.store.get_settings(user_id)))

    async def GetUsage(self, request: pb.GetUsageRequest, context: Any) -> pb.GetUsageResponse:
        usage, quotas = await self._library.usage.get_usage(identity.user().id), self._library.quotas
        return pb.GetUsageResponse(
            bytes=usage.bytes,
            max_bytes=quotas.bytes,
            files=usage.files,
            max_files=quotas.files,
            jobs=usage.jobs,
            max_jobs=quotas.jobs,
            minutes=round(usage.minutes, 2),
            max_minutes=quotas.minutes,
            fetched_bytes=usage.fetched_bytes,
            max_fetched_bytes=quotas.fetched_bytes,
            cost=round(usage.cost, 6),
            max_cost=max_month_cost(quotas, usage),
        )

    async def SetCostLimit(self, request: pb.SetCostLimitRequest, context: Any) -> pb.SetCostLimitResponse:
        """Set the limit of an account. Raises `NotFound` (ACCOUNT_NOT_FOUND) when there is none with this id."""
        max_cost = request.max_cost if request.HasField("max_cost") else None
        if not await self._account_exists(request.account_id):
            raise NotFound("there is no account with this id", reason="ACCOUNT_NOT_FOUND")
        await self._library.usage.set_cost_limit(request.account_id, max_cost)
        return pb.SetCostLimitResponse()


def _from_lexicon(lexicon: pb.Lexicon) -> list[Pronunciation]:
    return [Pronunciation(entry.term, entry.pronunciation, entry.language) for entry in lexicon.entries]


def _to_message(settings: Settings) -> pb.LibrarySettings:
    entries = (pb.Pronunciation(**asdict(entry)) for entry in settings.lexicon)
    return pb.LibrarySettings(retention_days=settings.retention_days, lexicon=pb.Lexicon(entries=entries))
