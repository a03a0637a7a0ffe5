"""Clips of a review: numbers them over all scenes, and replaces them by others that a search finds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from moneyprinter.client import Client
from moneyprinter.content.v1 import footage_search_service_pb2 as footage_pb
from moneyprinter.media.v1 import media_pb2
from moneyprinter.video.v1 import video_service_pb2 as pb
from services.commands.errors import WrongRequest

MAX_FOUND = 12
# The limit of the contract for search terms and queries.
MAX_TERMS = 100


def number_cuts(scenes: Sequence[pb.Scene]) -> Iterator[tuple[int, pb.Scene, pb.Cut]]:
    """Yield each cut with its number, from 1, and its scene."""
    number = 0
    for scene in scenes:
        for cut in scene.cuts:
            number += 1
            yield number, scene, cut


def find_cut(scenes: Sequence[pb.Scene], number: int) -> tuple[pb.Scene, pb.Cut]:
    """Return the scene and the cut of a number. Raises `WrongRequest` when there is none."""
    for each, scene, cut in number_cuts(scenes):
        if each == number:
            return scene, cut
    raise WrongRequest(f"there is no clip {number}")


async def search_clips(
    client: Client, terms: str, scenes: Sequence[pb.Scene], cut: pb.Cut, orientation: str, rejected: Collection[str]
) -> list[footage_pb.FootageClip]:
    """Search for clips that are long enough for a cut, without those of the scenes and the `rejected` ids.

    Raises `FailedPrecondition` when the platform has no key of a provider, and the errors of the call.
    """
    request = footage_pb.SearchFootageRequest(
        terms=terms[:MAX_TERMS], min_seconds=cut.duration, orientation=orientation, page_size=80
    )
    shown = {each.id for _, _, each in number_cuts(scenes)} | set(rejected)
    found = (await client.footage.SearchFootage(request)).clips
    return [clip for clip in found if clip.id not in shown][:MAX_FOUND]


def search_terms(scene: pb.Scene, cut: pb.Cut) -> list[str]:
    """Return the terms by which another clip in place of a cut is searched: its own ones first."""
    return [term for term in dict.fromkeys((cut.query, *scene.search_terms)) if term]


def replace_clip(cut: pb.Cut, clip: footage_pb.FootageClip, terms: str) -> None:
    """Show a found clip in a cut, for as long as the clip before."""
    cut.CopyFrom(
        pb.Cut(
            id=clip.id,
            url=clip.url,
            duration=cut.duration,
            query=terms[:MAX_TERMS],
            credit=media_pb2.Credit(
                provider=clip.provider,
                author=clip.author,
                author_url=clip.author_url,
                licence=clip.licence,
                licence_url=clip.licence_url,
                page_url=clip.page_url,
            ),
        )
    )


def describe_cut(cut: pb.Cut) -> str:
    """Return a line about a cut: its duration, what it shows, and who made it."""
    if cut.url:
        origin = " on ".join(filter(None, (cut.credit.author, cut.credit.provider)))
        shown = f"{cut.id or cut.url}{f' by {origin}' if origin else ''}"
    else:
        shown = f"your upload {cut.asset_id}" if cut.asset_id else "an animated background"
    found = f" ({cut.query})" if cut.query else ""
    return f"{cut.duration:4.1f} s  {shown}{found}"
