"""The words of a refused field: no rule's own language, and an example of what is taken."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2

from gateway.contracts import DESCRIPTORS, load_methods
from moneyprinter.buf.validate import validate_pb2
from moneyprinter.errors import InvalidArgument
from moneyprinter.video.v1 import video_service_pb2 as pb
from services.runtime import wording
from services.runtime.request_checks import check_message

URL = "https://example.com/a.mp4"


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (pb.CreateVideoRequest(clips=[pb.Clip(url=URL)]), "title", "must not be empty"),
        (
            pb.CreateVideoRequest(title="A", clips=[pb.Clip(url=URL, start_time="0:05")]),
            "clips[0].start_time",
            "must be a time as HH:MM:SS or HH:MM:SS.mmm, for example 00:00:05",
        ),
        (
            pb.CreateVideoRequest(title="A", clips=[pb.Clip(url=URL, end_time="1:2:3.5")]),
            "clips[0].end_time",
            "must be a time as HH:MM:SS or HH:MM:SS.mmm, for example 01:02:03.5",
        ),
        (
            pb.CreateVideoRequest(title="A", clips=[pb.Clip(colour="#FFAA00")]),
            "clips[0].colour",
            "must be a colour as #rrggbb in small letters, for example #ffaa00",
        ),
        (
            pb.CreateVideoRequest(title="A", clips=[pb.Clip(colour="red")]),
            "clips[0].colour",
            "must be a colour as #rrggbb in small letters, for example #ffaa00",
        ),
        (
            pb.CreateVideoRequest(title="A", clips=[pb.Clip(url=URL)], settings=pb.Settings(resolution="8k")),
            "settings.resolution",
            "must be one of 480p, 720p, 1080p, 1440p, 2160p",
        ),
        (
            pb.CreateVideoRequest(title="A", clips=[pb.Clip(url=URL)], settings=pb.Settings(frame_rate=7)),
            "settings.frame_rate",
            "must be one of 24, 25, 30, 50, 60",
        ),
        (
            pb.CreateVideoRequest(title="A", clips=[pb.Clip(url=URL)], settings=pb.Settings(renditions=["480p"] * 2)),
            "settings.renditions",
            "must not name the same thing twice",
        ),
    ],
)
def test_a_refused_field_is_described_in_plain_words(request_: pb.CreateVideoRequest, field: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_message(request_)
    assert {violation.field: violation.description for violation in refused.value.violations}[field] == words


def test_every_pattern_of_a_public_contract_has_a_description() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file
    kinds = {f".{file.package}.{kind.name}": kind for file in files for kind in file.message_type}
    inputs = {
        f"/{file.package}.{service.name}/{method.name}": method.input_type
        for file in files
        for service in file.service
        for method in service.method
    }
    public = [kinds[inputs[method.path]] for method in load_methods() if method.public]
    seen: dict[str, str] = {}
    names = set()
    while public:
        kind = public.pop()
        for field in kind.field:
            if field.type_name in kinds and field.type_name not in names:
                names.add(field.type_name)
                public.append(kinds[field.type_name])
            rules = field.options.Extensions[validate_pb2.field]
            for pattern in (rules.string.pattern, rules.repeated.items.string.pattern, rules.map.keys.string.pattern):
                if pattern:
                    seen[pattern] = f"{kind.name}.{field.name}"
    assert len(seen) > 10
    assert {pattern: where for pattern, where in seen.items() if pattern not in wording.PATTERNS} == {}
