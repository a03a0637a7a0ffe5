"""Calls do not wait for the audit log, and its events are not lost, or their loss is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.user.v1 import audit_service_pb2 as pb
from moneyprinter.user.v1 import audit_service_pb2_grpc as pb_grpc
from moneyprinter.video.v1 import video_service_pb2 as video_pb
from moneyprinter.video.v1 import video_service_pb2_grpc as video_grpc
from services.runtime import audit
from services.runtime.config import RuntimeConfig
from services.runtime.tasks import cancel
from tests.mesh import Mesh
from tests.runtime.auditing import Trail, Videos, wiring

SPIFFE = "spiffe://cluster.local/ns/moneyprinter/sa/"


async def test_calls_do_not_wait_for_an_unreachable_audit_log_and_no_event_is_lost(
    mesh: Mesh, trail: Trail, videos: Any
) -> None:
    trail.is_away = True
    for _ in range(30):
        await videos.GetVideo(video_pb.GetVideoRequest(job_id="vid_1"), metadata=mesh.bearer())
    await trail.until(lambda: trail.tries >= 2)
    assert not trail.events
    trail.is_away = False
    assert len({event.event_id for event in await trail.wait_events("job.read", 30)}) == 30


async def test_queued_events_are_sent_before_a_service_stops(config: RuntimeConfig) -> None:
    kept = Trail()  # type: ignore[abstract]
    async with Mesh(config) as mesh:
        await mesh.start("user", None, wiring(pb_grpc.add_AuditServiceServicer_to_server, kept))
        async with Mesh(mesh.config) as inner:
            await inner.start("orchestrator", None, wiring(video_grpc.add_VideoServiceServicer_to_server, Videos()))  # type: ignore[abstract]
            stub: Any = inner.stub(video_grpc.VideoServiceStub, caller="gateway")
            for _ in range(7):
                await stub.GetVideo(video_pb.GetVideoRequest(job_id="vid_1"), metadata=inner.bearer())
        assert [event.target for event in kept.events] == ["vid_1"] * 7


@dataclass
class Sent:
    """A `send` function that stores events, or fails."""

    failure: Exception | None = None
    events: list[pb.AuditEvent] = field(default_factory=list)

    async def __call__(self, events: Sequence[pb.AuditEvent]) -> None:
        assert len(events) <= audit.BATCH
        if self.failure:
            raise self.failure
        self.events += events


async def test_lost_events_are_recorded(config: RuntimeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_WAITING", 700)
    sent = Sent(errors.Unavailable("away", reason="SERVICE_UNAVAILABLE"))
    outbox = audit.AuditBuffer(config, "storage", sent)
    for number in range(1000):
        outbox.record(outbox.new_event("object.read", target=f"music/{number}", result="OK"))
    await outbox.drain()
    assert not sent.events
    sent.failure = None
    await outbox.drain()
    # The newest are lost: an action cannot be hidden by many actions after it.
    targets = [event.target for event in sent.events if event.action == "object.read"]
    assert targets == [f"music/{number}" for number in range(700)]
    [lost] = [event for event in sent.events if event.action == "audit.lost"]
    assert (dict(lost.details), lost.actor, lost.result) == ({"events": "300"}, f"{SPIFFE}storage", "LOST")


async def test_a_durable_event_is_awaited_until_it_is_stored_or_the_time_is_over(
    config: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "FLUSH_SECONDS", 1000.0)
    monkeypatch.setattr(audit, "LONGEST_PAUSE_SECONDS", 1000.0)
    sent = Sent()
    outbox = audit.AuditBuffer(config, "user", sent)
    running = asyncio.ensure_future(outbox.run())
    await outbox.record_durably(outbox.new_event("sign_in", result="OK"))
    assert len(sent.events) == 1
    # Its caller goes away, or the trail is: the event stays.
    leaving = asyncio.ensure_future(outbox.record_durably(outbox.new_event("sign_in", result="OK")))
    await asyncio.sleep(0)
    leaving.cancel()
    sent.failure = errors.Unavailable("away", reason="SERVICE_UNAVAILABLE")
    monkeypatch.setattr(audit, "DURABLE_SECONDS", 0.05)
    async with asyncio.timeout(10):
        await outbox.record_durably(outbox.new_event("sign_in", result="OK"))
        await outbox.record_durably(outbox.new_event("sign_in", result="OK"))
    sent.failure = None
    await cancel(running)
    await outbox.drain()
    assert len({event.event_id for event in sent.events}) == 4


async def test_a_refused_event_does_not_block_the_rest(config: RuntimeConfig) -> None:
    sent = Sent(errors.InvalidArgument("no", reason="REQUEST_INVALID"))
    outbox = audit.AuditBuffer(config, "storage", sent)
    outbox.record(outbox.new_event("object.read", result="OK"))
    await outbox.drain()
    sent.failure = None
    outbox.record(outbox.new_event("object.write", result="OK"))
    await outbox.drain()
    assert [(event.action, dict(event.details)) for event in sent.events] == [
        ("object.write", {}), ("audit.lost", {"events": "1"})
    ]  # fmt: skip


async def test_any_event_is_valid_by_its_contract(config: RuntimeConfig) -> None:
    sent = Sent()
    outbox = audit.AuditBuffer(config, "storage", sent)
    event = outbox.new_event(
        "object.read",
        target="x\0\n\u202e" + "y" * 300,
        result="not a reason",
        address="fe80::1%eth0",
        method="/\ud800",
        details={"note": "\0"},
    )
    assert (event.target[:5], len(event.target)) == ("x???y", audit.MAX_TEXT)
    assert (event.result, event.address, event.details["note"]) == ("UNKNOWN", "fe80::1", "?")


@pytest.mark.parametrize("kind", [errors.InvalidArgument, errors.PermissionDenied])
async def test_only_the_refused_event_of_a_batch_is_lost(config: RuntimeConfig, kind: type[errors.Error]) -> None:
    kept: list[pb.AuditEvent] = []

    async def send(events: Sequence[pb.AuditEvent]) -> None:
        if any(event.target == "music/7" for event in events):
            raise kind("no", reason="AUDIT_EVENT_REFUSED")
        kept.extend(events)

    outbox = audit.AuditBuffer(config, "storage", send)
    for number in range(20):
        outbox.record(outbox.new_event("object.read", target=f"music/{number}", result="OK"))
    await outbox.drain()
    assert [event.target for event in kept if event.target] == [f"music/{n}" for n in range(20) if n != 7]
    [lost] = [event for event in kept if event.action == "audit.lost"]
    assert lost.details["events"] == "1"
