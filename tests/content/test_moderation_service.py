"""Moderation as services and clients meet it: refusals, notices, and rows of the audit log."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from moneyprinter import errors
from moneyprinter.content.v1 import content_service_pb2 as pb
from moneyprinter.content.v1 import content_service_pb2_grpc as pb_grpc
from moneyprinter.content.v1 import writing_service_pb2 as writing_pb
from moneyprinter.content.v1 import writing_service_pb2_grpc as writing_grpc
from moneyprinter.media.v1 import media_pb2
from moneyprinter.user.v1 import audit_service_pb2_grpc as audit_grpc
from services.content.config import Config
from services.content.moderation.moderation import FieldText, hash_text
from services.content.moderation.policy import parse_policy
from services.content.moderation.script_texts import script_texts
from services.content.scripts.scenes import Scene
from services.content.scripts.writing import Script
from services.user.audit.policy import find_refusal
from services.user.audit_servicer import read_event
from tests.mesh import Mesh
from tests.runtime.auditing import Trail, wiring

ILL = "We walk. Heil Hitler, they cried."
ROLE = ("content.manage",)


@pytest.fixture
async def trail(mesh: Mesh) -> Trail:
    trail = Trail()  # type: ignore[abstract]
    await mesh.start("user", None, wiring(audit_grpc.add_AuditServiceServicer_to_server, trail))
    return trail


async def start(mesh: Mesh, policy: str = "hate=refuse", *allowed: str) -> pb_grpc.ContentServiceAsyncStub:
    config = Config(moderation_policy=parse_policy(policy), moderation_allowed=frozenset(allowed))
    await mesh.start("content", config)
    return mesh.stub(pb_grpc.ContentServiceStub)


def checked(**texts: str) -> pb.CheckTextsRequest:
    entries = [pb.CheckedText(field=field, text=text) for field, text in texts.items()]
    return pb.CheckTextsRequest(texts=entries, account_id="usr_1")


async def test_a_refusal_names_field_category_and_position_and_is_recorded(mesh: Mesh, trail: Trail) -> None:
    content = await start(mesh)
    with pytest.raises(errors.InvalidArgument) as refused:
        await content.CheckTexts(checked(title="A walk", script=ILL))
    assert refused.value.reason == "CONTENT_REFUSED"
    assert refused.value.violations == (errors.Violation("script", "category hate, characters 9 to 20"),)
    assert hash_text(ILL) in refused.value.message
    assert "Hitler" not in refused.value.message
    [event] = await trail.wait_events("content.check")
    assert (event.result, event.target, event.peer) == ("CONTENT_REFUSED", "usr_1", "orchestrator")
    assert dict(event.details) == {
        "category": "hate",
        "field": "script",
        "characters": "9-20",
        "text_hash": hash_text(ILL),
    }
    assert is_accepted(event)


def is_accepted(event: object) -> bool:
    """Whether the user service would store an event of the content service."""
    spiffe = "spiffe://cluster.local/ns/moneyprinter/sa/"
    return find_refusal(read_event(event, "content"), lambda name: f"{spiffe}{name}") == ""  # type: ignore[arg-type]


async def test_a_flag_is_a_notice_and_is_recorded(mesh: Mesh, trail: Trail) -> None:
    content = await start(mesh, "")
    [notice] = (await content.CheckTexts(checked(script=ILL))).notices
    assert notice.reason == "CONTENT_FLAGGED"
    assert notice.message.startswith("script: ")
    assert "category hate, characters 9 to 20" in notice.message
    [event] = await trail.wait_events("content.check")
    assert (event.result, is_accepted(event)) == ("CONTENT_FLAGGED", True)


async def test_an_allowed_text_passes_and_any_other_does_not(mesh: Mesh) -> None:
    content = await start(mesh, "hate=refuse", hash_text(ILL))
    assert not (await content.CheckTexts(checked(script=ILL))).notices
    with pytest.raises(errors.InvalidArgument):
        await content.CheckTexts(checked(script=f"{ILL} "))


@pytest.mark.parametrize("script", [ILL, None])
async def test_a_script_is_checked_again_before_it_is_spoken(mesh: Mesh, script: str | None) -> None:
    """The orchestrator accepts a job whose check had no result in time, and generated scripts are checked here."""
    content = await start(mesh)
    request = pb.WriteScriptRequest(title="A walk" if script else ILL, script=script)
    with pytest.raises(errors.InvalidArgument) as refused:
        await content.WriteScript(request)
    assert refused.value.reason == "CONTENT_REFUSED"


async def test_texts_of_the_request_are_not_flagged_a_second_time(mesh: Mesh) -> None:
    content = await start(mesh, "")
    written = await content.WriteScript(pb.WriteScriptRequest(title=ILL, prompt=ILL))
    assert "CONTENT_FLAGGED" not in [notice.reason for notice in written.notices]


def test_the_texts_of_a_written_script_have_fields() -> None:
    scene = Scene(("It rains.",), ("rain", "sea"), "en", "Rain")
    assert script_texts(Script(("It rains.",), "openai", scenes=(scene,))) == [
        FieldText("script", "It rains."),
        FieldText("scenes[0].search_terms", "rain, sea"),
        FieldText("scenes[0].title", "Rain"),
    ]
    assert script_texts(Script(("It rains.",), "plain-template", scenes=(scene,))) == []


async def test_title_cards_are_checked_before_they_are_drawn(mesh: Mesh) -> None:
    content = await start(mesh)
    card = pb.TitleCard(text=ILL, start=Duration(), end=Duration(seconds=1))
    canvas = media_pb2.Canvas(width=270, height=480, frames_per_second=30)
    with pytest.raises(errors.InvalidArgument) as refused:
        await content.MakeCaptions(pb.MakeCaptionsRequest(canvas=canvas, titles=[card]))
    assert [violation.field for violation in refused.value.violations] == ["titles[0].text"]


async def test_the_topic_of_a_script_is_checked(mesh: Mesh, trail: Trail) -> None:
    await start(mesh, "hate=refuse")
    writing = mesh.stub(writing_grpc.WritingServiceStub, caller="gateway")
    bearer = mesh.bearer(roles=ROLE)
    with pytest.raises(errors.InvalidArgument) as refused:
        await writing.CreateScript(writing_pb.CreateScriptRequest(topic=ILL), metadata=bearer)
    assert [violation.field for violation in refused.value.violations] == ["topic"]
    made = await writing.CreateScript(writing_pb.CreateScriptRequest(topic="go and die"), metadata=bearer)
    assert [notice.reason for notice in made.notices] == ["CONTENT_FLAGGED"]
    events = await trail.wait_events("script.create", 4)
    assert sorted(event.result for event in events) == ["CONTENT_FLAGGED", "CONTENT_REFUSED", "CONTENT_REFUSED", "OK"]
    assert all(event.actor == "user_1" and is_accepted(event) for event in events)
