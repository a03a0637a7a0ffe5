"""Webhooks from the command line: add one, show and replay its deliveries, remove it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from standardwebhooks.webhooks import Webhook

from tests.e2e.conftest import RunningPlatform
from tests.e2e.test_command import moneyprinter
from tests.orchestrator.receiver import Receiver


async def test_a_webhook_is_added_shown_and_removed(platform: RunningPlatform, certificates: Path) -> None:
    at = ("--data", platform.data)
    async with Receiver(certificates) as receiver:
        added = ("webhooks", "add", receiver.url(), "--event", "video.processing.cancelled", *at)
        code, output = await moneyprinter(*added)
        assert code == 0, output
        secret, webhook_id = re.findall(r"whsec_\S+|whk_\w+", output)[::-1]
        # Its clip never comes: it is still there when it is cancelled.
        wanted = {"title": "A walk", "clips": [{"url": platform.site.stalled("/never.mp4")}]}
        made = (await platform.http.post("/v1/videos", json=wanted)).json()["job_id"]
        assert (await platform.http.post(f"/v1/videos/{made}/cancel")).status_code == 200
        (posted,) = await receiver.until(1)
        assert Webhook(secret).verify(posted.body, posted.headers)["job_id"] == made

        code, output = await moneyprinter("webhooks", "list", "--webhook", webhook_id, *at)
        assert (code, webhook_id in output, receiver.url() in output, "cancelled" in output) == (0, True, True, True), (
            output
        )
        assert secret not in output
        delivery_id = re.findall(r"dlv_\w+", output)[0]
        code, output = await moneyprinter("webhooks", "replay", delivery_id, *at)
        assert code == 0, output
        assert (await receiver.until(2))[1].body == posted.body
        code, output = await moneyprinter("webhooks", "show", delivery_id, *at)
        assert (code, "HTTP status 204" in output, json.dumps(made) in output) == (0, True, True), output

        code, output = await moneyprinter("webhooks", "rotate", webhook_id, *at)
        assert (code, secret in output) == (0, False), output
        code, output = await moneyprinter("webhooks", "remove", webhook_id, *at)
        assert code == 0, output
        code, output = await moneyprinter("webhooks", "remove", webhook_id, *at)
        assert (code, f"there is no webhook {webhook_id}" in output) == (1, True), output
        code, output = await moneyprinter("webhooks", "add", "https://10.0.0.1/", *at)
        assert (code, "private or reserved network" in output) == (1, True), output
