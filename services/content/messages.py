"""Messages: conversion between the content service's protobuf messages and its domain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from moneyprinter.content.v1 import content_service_pb2 as pb
from moneyprinter.content.v1 import writing_service_pb2 as writing_pb
from moneyprinter.media.v1 import media_pb2
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from services.content.captions.cues import Cue
from services.content.captions.title_cards import DEFAULT_TITLE_SIZE
from services.content.layout.line_breaking import Word
from services.content.layout.style import CaptionStyle, Highlight, Position
from services.content.moderation.moderation import CONTENT_FLAGGED
from services.content.scripts.scenes import Scene
from services.content.scripts.writing import Notice, TokenCount, WritingOptions
from services.providers.usage import price

# The contract's values have the names of the members; its unspecified value is the default.
_POSITIONS = {pb.POSITION_UNSPECIFIED: Position.DEFAULT} | {
    pb.Position.Value(f"POSITION_{position.name}"): position
    for position in Position
    if position is not Position.DEFAULT
}
_HIGHLIGHTS = {pb.HIGHLIGHT_UNSPECIFIED: Highlight.NONE} | {
    pb.Highlight.Value(f"HIGHLIGHT_{highlight.name}"): highlight
    for highlight in Highlight
    if highlight is not Highlight.NONE
}


def to_options(request: pb.WriteScriptRequest | writing_pb.CreateScriptRequest) -> WritingOptions:
    """The writing options of a request: the fields of the same names."""
    return WritingOptions(**{field.name: getattr(request, field.name) for field in fields(WritingOptions)})


def from_notices(notices: Iterable[Notice]) -> list[media_pb2.Notice]:
    """Notices as messages."""
    return [media_pb2.Notice(reason=notice.reason, message=notice.message) for notice in notices]


def from_tokens(tokens: Iterable[TokenCount], prices: Mapping[str, float]) -> list[media_pb2.Usage]:
    """Counts of tokens as messages, with their cost for the deployment."""
    usage = (price(each.provider, each.unit, each.amount, prices if each.is_charged else {}) for each in tokens)
    return [media_pb2.Usage(**asdict(each)) for each in usage]


def to_scenes(scenes: Iterable[media_pb2.ScriptScene]) -> tuple[Scene, ...]:
    """The scenes of a message."""
    return tuple(
        Scene(tuple(scene.sentences), tuple(scene.search_terms), scene.search_language, scene.title) for scene in scenes
    )


def from_scenes(scenes: Iterable[Scene]) -> list[media_pb2.ScriptScene]:
    """Scenes as messages."""
    return [media_pb2.ScriptScene(**asdict(scene)) for scene in scenes]


def from_flags(messages: Iterable[str]) -> list[media_pb2.Notice]:
    """The notices that moderation has flagged texts, with these messages."""
    return [media_pb2.Notice(reason=CONTENT_FLAGGED, message=message) for message in messages]


def to_style(style: pb.CaptionStyle) -> CaptionStyle:
    """The style of captions in a job."""
    return _to_style(style, _POSITIONS[style.position], _HIGHLIGHTS[style.highlight])


def to_public_style(style: video_pb.Captions) -> CaptionStyle:
    """The style of captions in a public request."""
    return _to_style(style, Position[style.position.upper() or "DEFAULT"], Highlight[style.highlight.upper() or "NONE"])


def _to_style(style: pb.CaptionStyle | video_pb.Captions, position: Position, highlight: Highlight) -> CaptionStyle:
    """Take the fields of the same names from a message; `outline` is None when it is not set."""
    values = {field.name: getattr(style, field.name) for field in fields(CaptionStyle)}
    values |= {"position": position, "highlight": highlight}
    return CaptionStyle(**values if style.HasField("outline") else {**values, "outline": None})


def to_title_style(style: pb.TitleStyle) -> CaptionStyle:
    """The style of a title card."""
    return CaptionStyle(
        position=_POSITIONS[style.position or pb.POSITION_MIDDLE],
        size=style.size or DEFAULT_TITLE_SIZE,
        colour=style.colour,
        outline_colour=style.outline_colour,
        box_colour=style.box_colour,
    )


def to_word(word: media_pb2.Word) -> Word:
    """A spoken word of a job."""
    return Word(word.text, word.start.ToTimedelta(), word.end.ToTimedelta())


def to_timed_word(word: media_pb2.TimedWord) -> Word:
    """A spoken word of a public request."""
    return Word(word.text, timedelta(seconds=word.start), timedelta(seconds=word.end))


def from_cue(cue: Cue) -> media_pb2.Cue:
    """A cue as a message."""
    start, end = Duration(), Duration()
    start.FromTimedelta(cue.start)
    end.FromTimedelta(cue.end)
    return media_pb2.Cue(start=start, end=end, text="\n".join(cue.lines))
