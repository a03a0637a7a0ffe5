"""Clips: what a clip is that somebody might make a video of. Nothing of it is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from moneyprinter.errors import DataLoss, InvalidArgument, NotFound
from services.orchestrator.jobs import recovery
from services.orchestrator.jobs.model import Asset, StoredObject
from services.orchestrator.videos import requests


@dataclass(frozen=True)
class Facts:
    """What a clip is that can be used."""

    seconds: float
    """0 for a still picture."""
    size_bytes: int
    sha256: str
    width: int
    """As it is shown."""
    height: int
    rotation: int
    """How far it is turned to be shown, in degrees clockwise."""
    frame_rate: float
    """0 for a still picture."""
    video_codec: str
    hdr: str
    """`pq` or `hlg`; empty: no HDR."""
    interlaced: bool
    transparent: bool
    still: bool
    has_audio: bool
    audio_codec: str
    key_seconds: tuple[float, ...]
    mirrored: bool = False
    """Whether it is mirrored left to right, before it is turned."""


@dataclass(frozen=True)
class Part:
    """The part of a clip that is wanted, in seconds."""

    start: float
    end: float | None
    """None: the clip's end."""


class Assets(Protocol):
    """The assets of all users."""

    async def assets(self, user_id: str, asset_ids: Sequence[str]) -> Mapping[str, Asset]: ...


class Prober(Protocol):
    """Who looks at clips. Raises InvalidArgument with one of the CLIP reasons when one cannot be used."""

    async def at_address(self, url: str, part: Part) -> Facts: ...

    async def of_object(self, found: StoredObject, part: Part) -> Facts: ...

    async def of_bytes(self, chunks: AsyncIterator[bytes]) -> Facts: ...


@dataclass(frozen=True)
class Clips:
    """Clips as a user sees them, who sees only the user's own assets."""

    assets: Assets
    prober: Prober

    async def probe(self, user_id: str, url: str, asset_id: str, times: tuple[str, str]) -> Facts:
        """Describe the clip at an address, or an asset; `times` are the start and the end of the requested part.

        Raises InvalidArgument for a clip that cannot be used, and NotFound when there is no such asset.
        """
        start, end = map(requests.parse_time, times)
        if end is not None and end <= (start or 0.0):
            raise InvalidArgument(f"the wanted part ends at {times[1]}, before it starts", reason="CLIP_RANGE_INVALID")
        part = Part(start or 0.0, end)
        if url:
            return await self.prober.at_address(url, part)
        owned = await self.assets.assets(user_id, [asset_id])
        if asset_id not in owned:
            raise NotFound(f"there is no asset {asset_id}; upload it first", reason="ASSET_NOT_FOUND")
        try:
            return await self.prober.of_object(owned[asset_id].object, part)
        except (NotFound, DataLoss) as failure:
            raise recovery.lost_upload_error(asset_id) from failure

    async def probe_file(self, chunks: AsyncIterator[bytes]) -> Facts:
        """What a clip is whose bytes come."""
        return await self.prober.of_bytes(chunks)
