"""What is read over on the wire: every message that the contracts allow, and none that would cost too much."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from grpc_health.v1 import health_pb2, health_pb2_grpc

from moneyprinter.content.v1 import writing_service_pb2 as writing
from moneyprinter.errors import Error, InvalidArgument
from moneyprinter.media.v1 import media_pb2 as media
from moneyprinter.user.v1 import audit_service_pb2 as audit
from moneyprinter.video.v1 import video_service_pb2 as pb
from services.runtime import wire
from services.runtime.request_checks import check_message, parse_request, request_limits
from services.runtime.server import Runtime
from tests.mesh import Mesh

CLIP = pb.Clip(url="https://example.com/a.mp4", focus=pb.Point(x=0.5, y=0.25))


def scanned(data: bytes, kind: Any, at_most: wire.Limits = wire.REQUEST) -> int:
    """How often others had their turn."""
    return sum(1 for _ in wire.scan(data, kind.DESCRIPTOR, at_most))


def refused(data: bytes, kind: Any, at_most: wire.Limits = wire.REQUEST) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as failure:
        scanned(data, kind, at_most)
    return failure.value


async def test_a_message_is_parsed() -> None:
    request = pb.CreateVideoRequest(title="A walk", clips=[CLIP] * 100, audio=pb.Audio(script="x" * 20_000))
    assert await parse_request(request.SerializeToString(), pb.CreateVideoRequest) == request


def test_the_word_times_of_the_longest_script_are_accepted() -> None:
    word = media.TimedWord(text="a", start=1, end=2)
    request = writing.CreateCaptionsRequest(sentences=[media.TimedSentence(words=[word] * 10)] * 2000)
    # Others had their turns meanwhile.
    assert scanned(request.SerializeToString(), writing.CreateCaptionsRequest) >= 10
    check_message(request)


async def test_a_compressed_message_is_refused_by_every_service(mesh: Mesh) -> None:
    @asynccontextmanager
    async def wire(_: None, runtime: Runtime) -> AsyncIterator[None]:
        yield

    await mesh.start("encoder", None, wire)
    stub: Any = health_pb2_grpc.HealthStub(mesh.channel("encoder", "grpc.health.v1.Health"))
    assert (await stub.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(Error, match="'gzip' is disabled"):
        await stub.Check(health_pb2.HealthCheckRequest(), compression=grpc.Compression.Gzip)


def test_a_list_is_no_longer_than_the_contract_allows() -> None:
    found = refused(b"\x12\x00" * 2_000_000, pb.CreateVideoRequest)
    assert (found.reason, found.message) == ("REQUEST_INVALID", "clips: must contain no more than 100 item(s)")
    assert [violation.field for violation in found.violations] == ["clips"]


def test_all_elements_together_are_counted() -> None:
    changes = Struct()
    changes.update({"clips": [{"url": "a"}] * 5000})
    data = pb.ReviseVideoRequest(job_id="vid_1", changes=changes).SerializeToString()
    at_most = request_limits("/moneyprinter.video.v1.VideoService/ReviseVideo", pb.ReviseVideoRequest)
    assert at_most == wire.REQUEST_WITH_JSON
    assert refused(data, pb.ReviseVideoRequest, at_most).reason == "REQUEST_TOO_LARGE"
    few = wire.Limits(fields=1000, parts=10)
    assert "10 parts" in refused(b"\x12\x00" * 11, pb.CreateVideoRequest, few).message
    assert "1000 fields" in refused(b"\x0a\x00" * 1001, pb.CreateVideoRequest, few).message


def test_internal_requests_may_be_longer() -> None:
    assert (
        request_limits("/moneyprinter.content.v1.ContentService/MakeCaptions", pb.CreateVideoRequest) == wire.INTERNAL
    )
    upload = request_limits("/moneyprinter.video.v1.VideoService/UploadAsset", pb.UploadAssetRequest)
    assert upload == wire.MESSAGE_OF_STREAM


@pytest.mark.parametrize(
    ("request_message", "field"),
    [
        (pb.CreateVideoRequest(title="a\0"), "title"),
        (pb.CreateVideoRequest(clips=[CLIP, pb.Clip(url="a\0")]), "clips[1].url"),
        (pb.CreateVideoRequest(settings=pb.Settings(renditions=["480p", "\0"])), "settings.renditions[1]"),
        (audit.AuditEvent(details={"name": "a\0"}), "details[name]"),
        (audit.AuditEvent(details={"a\0": "b"}), "details[a]"),
    ],
)
def test_a_text_with_a_nul_is_found(request_message: Any, field: str) -> None:
    found = refused(request_message.SerializeToString(), type(request_message))
    assert found.message == f"{field}: must not hold the character U+0000"
    assert [violation.field for violation in found.violations] == [field]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff" * 1_000_000, id="an endless tag"),
        pytest.param(b"\x08" + b"\xff" * 1_000_000, id="an endless number"),
        pytest.param(b"\x0a\x05ab", id="a text that ends early"),
        pytest.param(b"\x12\x03\x0a", id="a part that ends early"),
        pytest.param(b"\x12\x01\x0a", id="a part that ends in a tag"),
        pytest.param(b"\x0b\x0c", id="a group"),
        pytest.param(b"\x0e", id="no kind of value"),
        pytest.param(b"\x09\x00", id="a number that ends early"),
        pytest.param(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", id="a length without end"),
    ],
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    assert refused(data, pb.CreateVideoRequest).message == "the bytes sent are no message of this method"


def test_the_depth_limit_is_that_of_the_parser() -> None:
    data = b""
    for _ in range(200):
        # A list within a list of free JSON.
        inner = b"\x0a" + _length(len(data)) + data
        data = b"\x32" + _length(len(inner)) + inner
    entry = b"\x0a\x01a\x12" + _length(len(data)) + data
    struct = b"\x0a" + _length(len(entry)) + entry
    found = refused(b"\x12" + _length(len(struct)) + struct, pb.ReviseVideoRequest)
    assert found.reason == "REQUEST_INVALID"


def _length(number: int) -> bytes:
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def test_a_message_that_breaks_rules_everywhere_names_some_of_them() -> None:
    with pytest.raises(InvalidArgument) as failure:
        check_message(pb.CreateVideoRequest(title="a", clips=[pb.Clip()] * 100, priority="none"))
    fields = [violation.field for violation in failure.value.violations]
    assert {"clips[0]", "clips[7]", "priority"} <= set(fields)
    assert len(fields) == 9


def test_the_only_invalid_element_of_many_is_named() -> None:
    with pytest.raises(InvalidArgument) as failure:
        check_message(pb.CreateVideoRequest(title="a", clips=[*[CLIP] * 98, pb.Clip(), CLIP]))
    assert [violation.field for violation in failure.value.violations] == ["clips[98]"]
