"""Events through the gateway of a complete platform: a killed consumer continues where it was."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from moneyprinter import errors
from moneyprinter.client import Client
from moneyprinter.user.v1 import account_service_pb2 as account_pb
from tests.api.conftest import Running
from tests.api.test_cases import VIDEO

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "follow_events.py"


async def cancelled(api: Running) -> str:
    """Create a video and cancel it; returns the job's id."""
    headers = {"authorization": f"Bearer {api.token}"}
    made = await api.http.post("/v1/videos", json=VIDEO, headers=headers)
    job_id = str(made.json()["job_id"])
    answer = await api.http.post(f"/v1/videos/{job_id}/cancel", headers=headers)
    assert answer.status_code in (200, 400), answer.text
    return job_id


@asynccontextmanager
async def signed_in(api: Running) -> AsyncIterator[Client]:
    async with Client(api.url.removeprefix("http://"), token=api.token) as client:
        yield client


async def events(api: Running, answered: dict[str, str], query: str = "") -> AsyncGenerator[dict[str, Any], None]:
    """Server-sent events; each with its `id`."""
    headers = {"authorization": f"Bearer {api.token}", **answered}
    async with api.http.stream("GET", f"/v1/events{query}", headers=headers) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        name = ""
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                name = line.removeprefix("id: ")
            elif line.startswith("data: "):
                yield {**json.loads(line.removeprefix("data: ")), "id": name}


async def test_a_killed_consumer_continues_where_it_was(api: Running, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    async with signed_in(api) as client:
        request = account_pb.CreateApiKeyRequest(display_name="ledger", roles=["video.process"])
        key = (await client.account.CreateApiKey(request)).api_key
    command = (sys.executable, str(EXAMPLE), api.url.removeprefix("http://"), str(ledger))
    environment = {"PATH": os.environ["PATH"], "MONEYPRINTER_API_KEY": key}
    made: set[str] = set()
    for _ in range(3):
        made.add(await cancelled(api))
        process = await asyncio.create_subprocess_exec(*command, env=environment)
        try:
            made.add(await cancelled(api))
            async with asyncio.timeout(30):
                while True:
                    lines = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
                    if made <= {line["job_id"] for line in lines}:
                        break
                    assert process.returncode is None
                    await asyncio.sleep(0.05)
        finally:
            process.kill()
            await process.wait()
    ids = [line["event_id"] for line in lines]
    assert len(ids) == len(set(ids)), "each once"


async def test_the_client_acknowledges_an_event_when_the_next_is_requested(api: Running) -> None:
    job_id = await cancelled(api)
    seen = []
    async with signed_in(api) as client, asyncio.timeout(30):
        async with aclosing(client.events("test-acknowledge")) as found:
            async for event in found:
                seen.append(event)
                if len(seen) > 1 and event.job_id == job_id:
                    break
        async with aclosing(client.events("test-acknowledge")) as found:
            assert await anext(found) == seen[-1], "the last one was not done with"
    assert {event.user_id for event in seen} == {seen[0].user_id}


async def test_a_browser_resumes_with_the_last_event_id(api: Running) -> None:
    async with asyncio.timeout(30):
        job_id = await cancelled(api)
        seen: list[dict[str, Any]] = []
        async with aclosing(events(api, {})) as found:
            async for event in found:
                seen.append(event)
                if event["job_id"] == job_id and event["event_type"].endswith(("cancelled", "failed")):
                    break
        assert [int(event["id"]) for event in seen] == sorted(int(event["position"]) for event in seen)
        async with aclosing(events(api, {"last-event-id": seen[-1]["id"]})) as found:
            following = asyncio.ensure_future(anext(found))
            another = await cancelled(api)
            event = await following
            while event["job_id"] != another:
                event = await anext(found)
        assert int(event["id"]) > int(seen[-1]["id"])
        assert event["sequence"] == 1


async def test_an_unknown_event_id_is_refused(api: Running) -> None:
    headers = {"authorization": f"Bearer {api.token}", "last-event-id": "soon"}
    answer = await api.http.get("/v1/events", headers=headers)
    assert answer.status_code == 400
    assert "last-event-id" in answer.json()["message"]


async def test_a_position_lost_in_a_database_restore_is_refused(api: Running) -> None:
    """A restored backup has no later events, and assigns their positions again to new ones."""
    async with asyncio.timeout(30), aclosing(events(api, {})) as found:
        job_id = await cancelled(api)
        async for event in found:
            if event["job_id"] == job_id:
                break
    lost = str(int(event["position"]) + 1)
    headers = {"authorization": f"Bearer {api.token}"}
    streamed = await api.http.get("/v1/events", headers={**headers, "last-event-id": lost})
    acknowledged = await api.http.post(
        "/v1/events/acknowledge", headers=headers, json={"consumer": "lost", "position": lost}
    )
    for answer in (streamed, acknowledged):
        assert answer.status_code == 400
        assert answer.json()["details"][0]["reason"] == "CURSOR_EXPIRED"
    async with signed_in(api) as client:
        with pytest.raises(errors.FailedPrecondition):
            await anext(client.events(after=lost))


async def test_following_events_requires_a_token(api: Running) -> None:
    async with Client(api.url.removeprefix("http://")) as client:
        with pytest.raises(errors.Unauthenticated):
            await anext(client.events())
