"""Services in several instances: parsing, their ports, and calls that survive the death of an instance."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import psutil
import pytest

from services.embedded import replicas
from services.runtime.config import ConfigError
from tests.up import Up, assert_all_end, up


def test_replicas_are_parsed() -> None:
    assert replicas.parse_replicas("") == {}
    assert replicas.parse_replicas("processing=2,orchestrator=3") == {"processing": 2, "orchestrator": 3}


@pytest.mark.parametrize("text", ["user=2", "config=2", "nobody=2", "processing", "processing=0", "processing=²"])
def test_invalid_replicas_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--replicas"):
        replicas.parse_replicas(text)


def test_every_further_instance_has_a_port() -> None:
    ports = replicas.pick_further_ports({"processing": 3, "audio": 1})
    assert list(ports) == ["processing"]
    assert len(set(ports["processing"])) == 2


def instances(running: Up, service: str) -> list[psutil.Process]:
    return [child for child in running.children() if child.cmdline()[-2:] == ["serve", service]]


async def test_calls_succeed_after_an_instance_dies(tmp_path: Path) -> None:
    async with up(tmp_path, "--processes", "--replicas", "content=2,orchestrator=2") as running:
        children = running.children()
        found = instances(running, "orchestrator")
        assert len(found) == 2
        assert len(instances(running, "content")) == 2
        account = json.loads((tmp_path / "first-account").read_text())
        async with httpx.AsyncClient(base_url=running.url, timeout=10) as http:
            tokens = (await http.post("/v1/auth/sign-in", json=account)).json()
            http.headers["authorization"] = f"Bearer {tokens['access_token']}"
            found[0].kill()
            await asyncio.to_thread(found[0].wait, 10)
            answers = [await http.get("/v1/videos") for _ in range(10)]
        assert [answer.status_code for answer in answers] == [200] * 10, answers[0].text
        assert await running.stop() == 0
    await assert_all_end(children)
