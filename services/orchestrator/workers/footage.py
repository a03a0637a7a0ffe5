"""Footage: the content service chooses clips for scenes, from the uploads of the user and other sources."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from moneyprinter.content.v1 import footage_service_pb2 as pb
from moneyprinter.errors import NotFound
from services.orchestrator.jobs.footage import FootageChoice
from services.orchestrator.jobs.model import Asset, VideoRequest
from services.orchestrator.jobs.scenes import Cut, Scene
from services.orchestrator.workers import messages
from services.orchestrator.workers.messages import to_duration, to_seconds

# The limits of the contract.
MAX_TERM_CHARACTERS, MAX_TERMS, MAX_NARRATION = 100, 10, 20_000


class FootageRecords(Protocol):
    """What footage a user has and has used."""

    async def list_uploads(self, user_id: str) -> Sequence[Asset]:
        """Return the uploads of a user, newest first, at most 5000."""

    async def find_upload(self, user_id: str, asset_id: str) -> Asset | None:
        """Return an upload of a user."""

    async def list_used_cuts(self, user_id: str) -> Sequence[str]:
        """Return the ids of the clips in the user's last videos, the most recent last."""


class GrpcFootage:
    """Chooses footage for one job of a user. The records of the user are read once, at the first choice."""

    def __init__(self, stub: Any, records: FootageRecords, user_id: str) -> None:
        self._stub = stub
        self._records = records
        self._user_id = user_id
        self._library: Sequence[pb.LibraryAsset] | None = None
        self._used_ids: Sequence[str] = ()

    async def choose(
        self,
        request: VideoRequest,
        language: str,
        scenes: Sequence[Scene],
        seconds: Sequence[float],
        source: str,
        excluded: Collection[str],
    ) -> FootageChoice:
        """Choose the cuts of scenes, each of which lasts for `seconds`, without the clips of `excluded` ids."""
        search_language = next((scene.search_language for scene in scenes if scene.search_language), language)
        message = pb.ChooseFootageRequest(
            scenes=[_scene_message(scene, length) for scene, length in zip(scenes, seconds, strict=True)],
            topic=request.title,
            language=messages.primary_language(search_language),
            width=request.width,
            height=request.height,
            source=source,
            excluded_ids=list(excluded),
            account_id=self._user_id,
        )
        if source != "none":
            message.assets.extend(await self._read_library())
            message.used_ids.extend(self._used_ids)
        chosen = await self._stub.ChooseFootage(message)
        cuts = tuple(tuple(map(_to_cut, scene.cuts)) for scene in chosen.scenes)
        return FootageChoice(cuts, messages.to_notices(chosen.notices))

    async def _read_library(self) -> Sequence[pb.LibraryAsset]:
        if self._library is None:
            uploads = await self._records.list_uploads(self._user_id)
            self._used_ids = await self._records.list_used_cuts(self._user_id)
            self._library = [pb.LibraryAsset(asset_id=each.id, filename=each.filename) for each in uploads]
        return self._library

    async def find_upload(self, asset_id: str) -> Asset:
        """Return an upload of the user. Raises `NotFound` when there is none."""
        upload = await self._records.find_upload(self._user_id, asset_id)
        if upload is None:
            raise NotFound(f"there is no asset {asset_id}", reason="ASSET_NOT_FOUND")
        return upload


def _scene_message(scene: Scene, seconds: float) -> pb.FootageScene:
    terms = [term[:MAX_TERM_CHARACTERS] for term in scene.search_terms[:MAX_TERMS] if term]
    return pb.FootageScene(terms=terms, narration=scene.script[:MAX_NARRATION], duration=to_duration(seconds))


def _to_cut(message: pb.FootageCut) -> Cut:
    return Cut(
        id=message.id,
        url=message.url,
        asset_id=message.asset_id,
        background=messages.to_background(message.background) if message.HasField("background") else None,
        start_seconds=to_seconds(message.start),
        seconds=to_seconds(message.duration),
        query=message.query,
        credit=messages.to_credit(message.credit) if message.HasField("credit") else None,
    )
