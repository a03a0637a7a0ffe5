"""Webhooks from the command line: one is added, what it was posted is seen and posted again, and it is removed."""

from __future__ import annotations

import json
import re
from pathlib import Path

from standardwebhooks.webhooks import Webhook

from tests.e2e.conftest import RunningPlatform
from tests.e2e.test_command import moneyprinter
from tests.orchestrator.receiver import Receiver


async def test_a_webhook_is_added_looked_at_and_removed(platform: RunningPlatform, certificates: Path) -> None:
    at = ("--data", platform.data)
    async with Receiver(certificates) as receiver:
        added = ("webhooks", "add", receiver.url(), "--event", "video.processing.cancelled", *at)
        code, said = await moneyprinter(*added)
        assert code == 0, said
        secret, webhook_id = re.findall(r"whsec_\S+|whk_\w+", said)[::-1]
        # Its clip never comes: it is still there when it is cancelled.
        wanted = {"title": "A walk", "clips": [{"url": platform.site.stalled("/never.mp4")}]}
        made = (await platform.http.post("/v1/videos", json=wanted)).json()["job_id"]
        assert (await platform.http.post(f"/v1/videos/{made}/cancel")).status_code == 200
        (posted,) = await receiver.until(1)
        assert Webhook(secret).verify(posted.body, posted.headers)["job_id"] == made

        code, said = await moneyprinter("webhooks", "list", "--webhook", webhook_id, *at)
        assert (code, webhook_id in said, receiver.url() in said, "cancelled" in said) == (0, True, True, True), said
        assert secret not in said
        delivery_id = re.findall(r"dlv_\w+", said)[0]
        code, said = await moneyprinter("webhooks", "replay", delivery_id, *at)
        assert code == 0, said
        assert (await receiver.until(2))[1].body == posted.body
        code, said = await moneyprinter("webhooks", "show", delivery_id, *at)
        assert (code, "HTTP status 204" in said, json.dumps(made) in said) == (0, True, True), said

        code, said = await moneyprinter("webhooks", "rotate", webhook_id, *at)
        assert (code, secret in said) == (0, False), said
        code, said = await moneyprinter("webhooks", "remove", webhook_id, *at)
        assert code == 0, said
        code, said = await moneyprinter("webhooks", "remove", webhook_id, *at)
        assert (code, f"there is no webhook {webhook_id}" in said) == (1, True), said
        code, said = await moneyprinter("webhooks", "add", "https://10.0.0.1/", *at)
        assert (code, "private or reserved network" in said) == (1, True), said
