"""Conversion between the scenes of VideoService and those of the domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from moneyprinter.media.v1 import media_pb2 as media
from moneyprinter.video.v1 import video_service_pb2 as pb
from services.orchestrator.jobs.scenes import Credit, Cut, Scene, SceneRequest, WritingOptions
from services.orchestrator.workers.messages import to_background, to_credit


def scene_requests(scenes: Iterable[pb.Scene]) -> tuple[SceneRequest, ...]:
    """Return the scenes of a request or an approval."""
    return tuple(
        SceneRequest(
            scene.script, scene.title, tuple(scene.search_terms), scene.search_language, tuple(map(_cut, scene.cuts))
        )
        for scene in scenes
    )


def writing_options(writing: pb.Writing) -> WritingOptions:
    return WritingOptions(
        language=writing.language,
        tone=writing.tone,
        audience=writing.audience,
        seconds=writing.seconds,
        words=writing.words,
        scene_count=writing.scene_count,
        prompt=writing.prompt,
    )


def scene_messages(scenes: Iterable[Scene]) -> list[pb.Scene]:
    return [
        pb.Scene(
            script=scene.script,
            title=scene.title,
            search_terms=scene.search_terms,
            search_language=scene.search_language,
            cuts=map(_cut_message, scene.cuts),
        )
        for scene in scenes
    ]


def credit_messages(scenes: Iterable[Scene]) -> list[media.Credit]:
    """Return the credits of the clips that others made, each once."""
    found: Sequence[Credit] = [cut.credit for scene in scenes for cut in scene.cuts if cut.credit]
    return [_credit_message(credit) for credit in dict.fromkeys(found)]


def _cut(message: pb.Cut) -> Cut:
    return Cut(
        id=message.id,
        url=message.url,
        asset_id=message.asset_id,
        background=to_background(message.background) if message.HasField("background") else None,
        start_seconds=message.start,
        seconds=message.duration,
        query=message.query,
        credit=to_credit(message.credit) if message.HasField("credit") else None,
    )


def _cut_message(cut: Cut) -> pb.Cut:
    return pb.Cut(
        id=cut.id,
        url=cut.url,
        asset_id=cut.asset_id,
        background=media.Background(seed=cut.background.seed, colours=cut.background.colours)
        if cut.background
        else None,
        start=round(cut.start_seconds, 3),
        duration=round(cut.seconds, 3),
        query=cut.query,
        credit=_credit_message(cut.credit) if cut.credit else None,
    )


def _credit_message(credit: Credit) -> media.Credit:
    return media.Credit(**asdict(credit))
