"""Messages of the media services: names become enum values, caption styles keep every field."""

from __future__ import annotations

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import EnumDescriptor

from moneyprinter.content.v1 import content_service_pb2 as content
from moneyprinter.media.v1 import media_pb2 as media
from moneyprinter.rendering.v1 import rendering_service_pb2 as rendering
from moneyprinter.video.v1 import video_service_pb2 as video
from services.orchestrator.workers.messages import caption_style, enum_number


@pytest.mark.parametrize(
    ("enum", "name", "value"),
    [
        (media.Transition.DESCRIPTOR, "fade_black", media.TRANSITION_FADE_BLACK),
        (media.Transition.DESCRIPTOR, "", media.TRANSITION_UNSPECIFIED),
        (media.Quality.DESCRIPTOR, "near_lossless", media.QUALITY_NEAR_LOSSLESS),
        (media.Codec.DESCRIPTOR, "h265", media.CODEC_H265),
        (content.Position.DESCRIPTOR, "none", content.POSITION_NONE),
        (content.Highlight.DESCRIPTOR, "none", content.HIGHLIGHT_UNSPECIFIED),
        (rendering.Container.DESCRIPTOR, "webm", rendering.CONTAINER_WEBM),
    ],
)
def test_a_name_becomes_the_value_of_its_enum(enum: EnumDescriptor, name: str, value: int) -> None:
    assert enum_number(enum, name) == value


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        enum_number(media.Fit.DESCRIPTOR, "tile")


def test_a_caption_style_keeps_every_field() -> None:
    style = video.Captions(
        position="top",
        size=0.1,
        colour="#112233",
        outline_colour="#223344",
        box_colour="#334455",
        max_lines=3,
        highlight="karaoke",
        highlight_colour="#445566",
        pop=True,
        margin=0.2,
        side_margin=0.1,
        font="Manrope",
        outline=0.0,
        box_padding=0.5,
    )
    assert {field.name for field, _ in style.ListFields()} == set(video.Captions.DESCRIPTOR.fields_by_name)
    public = json_format.MessageToDict(style, preserving_proto_field_name=True)
    expected = {**public, "position": "POSITION_TOP", "highlight": "HIGHLIGHT_KARAOKE"}
    assert json_format.MessageToDict(caption_style(public), preserving_proto_field_name=True) == expected


def test_a_caption_style_of_an_earlier_version_is_read() -> None:
    recorded = {"position": "bottom", "size": 0.0, "colour": "", "max_lines": 0, "pop": False, "outline": None}
    assert caption_style(recorded) == content.CaptionStyle(position=content.POSITION_BOTTOM)
