"""The neural voice in a whole platform: it speaks by default, and not in drafts; nothing of it is left at the end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.audio.kokoro import MODEL, requires_model
from tests.e2e.test_command import open_client, wait_until_ended
from tests.up import assert_all_end, up

REQUEST = {
    "title": "A walk",
    "clips": [{"colour": "#203040", "duration": 1.5}],
    "audio": {"script": "Birds sing.", "voice": "en-US"},
}


async def make_video(http: httpx.AsyncClient, quality: str) -> Any:
    settings = {"width": 160, "height": 90, "quality": quality}
    created = await http.post("/v1/videos", json={**REQUEST, "settings": settings})
    assert created.status_code == 202, created.text
    job = created.json()["job_id"]
    status = await wait_until_ended(http, job)
    assert status["status"] == "completed", status
    return (await http.get(f"/v1/videos/{job}")).json()["video"]


@requires_model
async def test_the_neural_voice_speaks_by_default_and_espeak_in_drafts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    environment = {"MONEYPRINTER_AUDIO_KOKORO_MODEL": os.pathsep.join(map(str, MODEL))}
    async with up(data, environment=environment) as running, open_client(running, data) as http:
        final = await make_video(http, "standard")
        assert (final["voice"], final["voice_quality"]) == ("en-US", "neural")
        # The optimized model is in the data folder; the process waits for further sentences.
        assert [path.suffix for path in (data / "cache" / "kokoro").iterdir()] == [".onnx"]
        processes = [child for child in running.children() if "synthesis_child.py" in " ".join(child.cmdline())]
        assert len(processes) == 1
        assert processes[0].memory_info().rss < 700 << 20
        draft = await make_video(http, "draft")
        assert (draft["voice"], draft["voice_quality"]) == ("espeak:en-US", "robotic")
        children = [psutil.Process(child.pid) for child in running.children()]
        assert await running.stop() == 0
    await assert_all_end(children)
