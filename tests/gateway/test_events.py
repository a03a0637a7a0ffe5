"""Events over REST are server-sent events, each with the id that a browser sends when it reconnects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from tests.gateway.platform import Platform
from tests.gateway.proxy import Proxy


async def read_event(lines: AsyncIterator[str]) -> tuple[str, dict[str, object]]:
    """Read the id and the data of the next event."""
    found: dict[str, str] = {}
    async for line in lines:
        if not line and found:
            return found["id"], json.loads(found["data"])
        name, _, value = line.partition(": ")
        if line:
            found[name] = value
    raise AssertionError("the stream ended")


async def test_events_arrive_as_they_happen_and_have_ids(
    platform: Platform, gateway: Proxy, bearer: dict[str, str]
) -> None:
    headers = {**bearer, "last-event-id": "5", "accept": "text/event-stream"}
    async with (
        asyncio.timeout(10),
        gateway.http.stream("GET", "/v1/events?consumer=billing", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        lines = aiter(answer.aiter_lines())
        for number in (7, 12):
            name, event = await read_event(lines)
            assert name == event["position"] == str(number)
            assert (event["sequence"], event["payload"]) == (number, {"progress": number})
            assert list(event) == [
                *("position", "event_id", "sequence", "event_type", "job_id", "user_id", "timestamp", "payload"),
            ]
            assert event["job_id"] == 'data: {"position":"1"', "what looks like an event inside of one is none"
        # What shows that the stream is alive is a comment, and no event.
        assert (await anext(lines), await anext(lines)) == (": keep-alive", "")
    assert platform.events.requests[-1].consumer == "billing"
    assert platform.events.metadata["last-event-id"] == "5"


async def test_an_acknowledgement_is_a_post(gateway: Proxy, bearer: dict[str, str]) -> None:
    body = {"consumer": "billing", "position": "12"}
    answer = await gateway.http.post("/v1/events/acknowledge", headers=bearer, json=body)
    assert (answer.status_code, answer.json()) == (200, {"position": "12"})


async def test_a_wrong_position_is_refused(gateway: Proxy, bearer: dict[str, str]) -> None:
    answer = await gateway.http.get("/v1/events?after=soon", headers=bearer)
    assert answer.status_code == 400
    assert (await gateway.http.get("/v1/events")).status_code == 401
