"""Clips: probe a clip before a video is made of it. Nothing of it is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from moneyprinter.errors import DataLoss, InvalidArgument, NotFound
from services.orchestrator.jobs import recovery
from services.orchestrator.jobs.model import Asset, StoredObject
from services.orchestrator.videos import requests


@dataclass(frozen=True)
class ClipFacts:
    """The properties of a usable clip."""

    seconds: float
    """0 for a still picture."""
    size_bytes: int
    sha256: str
    width: int
    """In pixels, as a player shows it, after rotation."""
    height: int
    rotation: int
    """Clockwise, in degrees."""
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
    """The times of key frames, where decoding can begin."""
    mirrored: bool = False
    """Whether a player mirrors it left to right before it rotates it."""


@dataclass(frozen=True)
class TimeRange:
    """A part of a clip, in seconds."""

    start_seconds: float
    end_seconds: float | None
    """None: the end of the clip."""


class Assets(Protocol):
    """The assets of all users."""

    async def assets(self, user_id: str, asset_ids: Sequence[str]) -> Mapping[str, Asset]: ...


class Prober(Protocol):
    """Probes clips. Raises `InvalidArgument` with one of the CLIP reasons when a clip cannot be used."""

    async def probe_address(self, url: str, part: TimeRange) -> ClipFacts: ...

    async def probe_object(self, stored: StoredObject, part: TimeRange) -> ClipFacts: ...

    async def probe_stream(self, chunks: AsyncIterator[bytes]) -> ClipFacts: ...


@dataclass(frozen=True)
class Clips:
    """Probes clips for users. A user can probe only own assets."""

    assets: Assets
    prober: Prober

    async def probe(self, user_id: str, url: str, asset_id: str, times: tuple[str, str]) -> ClipFacts:
        """Probe the clip at an address, or an asset; `times` are the start and the end of a part, as `HH:MM:SS`.

        Raises `InvalidArgument` with one of the CLIP reasons when the clip cannot be used, `NotFound` when the user has
        no such asset, and `DataLoss` when the stored file of the asset is damaged.
        """
        start, end = map(requests.parse_time, times)
        if end is not None and end <= (start or 0.0):
            raise InvalidArgument(f"the wanted part ends at {times[1]}, before it starts", reason="CLIP_RANGE_INVALID")
        part = TimeRange(start or 0.0, end)
        if url:
            return await self.prober.probe_address(url, part)
        owned = await self.assets.assets(user_id, [asset_id])
        if asset_id not in owned:
            raise NotFound(f"there is no asset {asset_id}; upload it first", reason="ASSET_NOT_FOUND")
        try:
            return await self.prober.probe_object(owned[asset_id].object, part)
        except (NotFound, DataLoss) as failure:
            raise recovery.lost_upload_error(asset_id) from failure

    async def probe_file(self, chunks: AsyncIterator[bytes]) -> ClipFacts:
        """Probe a clip whose bytes arrive in chunks. Raises `InvalidArgument` when it cannot be used."""
        return await self.prober.probe_stream(chunks)
