"""Webhooks as users meet them: over real mTLS, PostgreSQL and NATS, posted by the real validation service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from moneyprinter import errors
from moneyprinter.video.v1 import video_service_pb2 as videos_pb
from moneyprinter.video.v1 import video_service_pb2_grpc as videos_grpc
from moneyprinter.video.v1 import webhook_service_pb2 as pb
from moneyprinter.video.v1 import webhook_service_pb2_grpc as pb_grpc
from services.config.config import Config as SecretsConfig
from services.embedded import nats, ports
from services.orchestrator.config import Config
from services.storage.config import Config as StorageConfig
from services.validation.config import Config as ValidationConfig
from tests.databases import Databases, open_pool
from tests.mesh import Mesh, mesh_config
from tests.orchestrator.receiver import Posted, Receiver

VIDEO: dict[str, Any] = {"title": "A walk", "clips": [{"url": "https://example.com/a.mp4"}]}
CANCELLED = ["video.processing.cancelled"]


class Platform:
    """The orchestrator and what it needs to post, called by users."""

    def __init__(self, mesh: Mesh, database: str) -> None:
        self.mesh = mesh
        self.database = database
        self.webhooks = mesh.stub(pb_grpc.WebhookServiceStub, caller="gateway")
        self.videos = mesh.stub(videos_grpc.VideoServiceStub, caller="gateway")

    def __getattr__(self, method: str) -> Any:
        """Call a method of WebhookService: `await platform.GetWebhook(webhook_id=...)`."""

        async def call(user: str = "user_1", **fields: Any) -> Any:
            request = getattr(pb, f"{method}Request")(**fields)
            return await getattr(self.webhooks, method)(request, metadata=self.mesh.bearer(user))

        return call

    async def cancelled(self, **fields: Any) -> str:
        """Create a video and cancel it, which makes one event."""
        bearer = self.mesh.bearer()
        made = await self.videos.CreateVideo(videos_pb.CreateVideoRequest(**VIDEO, **fields), metadata=bearer)
        await self.videos.CancelVideo(videos_pb.CancelVideoRequest(job_id=made.job_id), metadata=bearer)
        return made.job_id

    async def all_placed(self) -> None:
        """Wait until it is known of every event where it is to be posted."""
        unplaced = "SELECT 1 FROM outbox WHERE user_id IS NOT NULL AND position IS NULL"
        async with open_pool("orchestrator", self.database) as pool, pool.connection() as connection:
            async with asyncio.timeout(20):
                while await (await connection.execute(unplaced)).fetchone():  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    async def delivery(self, status: str, attempt_count: int, **fields: Any) -> pb.WebhookDelivery:
        """Wait until the newest delivery is in a state after a number of attempts."""
        async with asyncio.timeout(20):
            while True:
                for listed in (await self.ListWebhookDeliveries(**fields)).deliveries:
                    if (listed.status, listed.attempt_count) == (status, attempt_count):
                        whole = await self.GetWebhookDelivery(delivery_id=listed.delivery_id)
                        assert isinstance(whole.delivery, pb.WebhookDelivery)
                        return whole.delivery
                await asyncio.sleep(0.02)


@pytest.fixture
async def platform(
    postgres: Databases, nats_url: str, mesh: Mesh, certificates: Path, tmp_path: Path
) -> AsyncIterator[Platform]:
    yield await start_platform(mesh, await postgres.fresh("orchestrator"), nats_url, certificates, tmp_path)


@pytest.fixture(scope="module")
async def refusing(
    postgres: Databases, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Platform]:
    """A platform for tests whose requests are all refused."""
    folder = tmp_path_factory.mktemp("refusing")
    config = mesh_config(certificates, folder)
    [port] = ports.pick_ports()
    async with (
        nats.run_server(config, folder / "nats", log_file=folder / "nats.log", port=port) as url,
        Mesh(config) as mesh,
    ):
        yield await start_platform(mesh, await postgres.fresh("orchestrator"), url, certificates, folder)


async def start_platform(mesh: Mesh, database: str, nats_url: str, certificates: Path, folder: Path) -> Platform:
    """Start the orchestrator and what it needs to post."""
    (folder / "master-key").write_bytes(bytes(range(32)))
    await mesh.start("config", SecretsConfig(store=folder / "secrets", master_key_file=folder / "master-key"))
    await mesh.start("storage", StorageConfig(root=folder / "objects"))
    await mesh.start(
        "validation",
        ValidationConfig(allowed_networks=(ip_network("127.0.0.1/32"),), extra_authority=certificates / "ca.pem"),
    )
    [metrics] = ports.pick_ports()
    mesh.config = mesh.config.model_copy(update={"metrics_ports": {"orchestrator": metrics}})
    await mesh.start("orchestrator", Config(database=database, nats=nats_url, jobs_at_once=0))
    return Platform(mesh, database)


@pytest.fixture
async def receiver(certificates: Path) -> AsyncIterator[Receiver]:
    async with Receiver(certificates) as receiver:
        yield receiver


def verified(posted: Posted, secret: str) -> Any:
    """What was posted, once the library of Standard Webhooks has found it to be ours."""
    return Webhook(secret).verify(posted.body, posted.headers)


async def test_an_event_is_delivered_with_a_signature_and_listed(platform: Platform, receiver: Receiver) -> None:
    made = await platform.CreateWebhook(url=receiver.url("/hook?x=1"), event_types=CANCELLED)
    assert made.secret.startswith("whsec_")
    job_id = await platform.cancelled()
    (posted,) = await receiver.until(1)
    event = verified(posted, made.secret)
    assert list(event) == ["event_type", "job_id", "user_id", "timestamp", "payload"]
    assert (event["event_type"], event["job_id"]) == (*CANCELLED, job_id)
    assert posted.path == "/hook?x=1"
    assert posted.headers["webhook-id"] == f"{job_id}-event-1"
    assert (posted.headers["content-type"], posted.headers["host"]) == (
        "application/json",
        f"127.0.0.1:{receiver.port}",
    )
    with pytest.raises(WebhookVerificationError):
        Webhook(made.secret).verify(posted.body + b" ", posted.headers)
    delivery = await platform.delivery("delivered", 1)
    assert (delivery.webhook_id, delivery.event_id) == (made.webhook.webhook_id, f"{job_id}-event-1")
    assert (delivery.attempts[0].http_status, delivery.next_time) == (204, "")
    assert delivery.body.encode() == posted.body
    found = (await platform.GetWebhook(webhook_id=made.webhook.webhook_id)).webhook
    assert found == made.webhook
    assert list((await platform.ListWebhooks()).webhooks) == [found]

    # The same again, on demand.
    await platform.ReplayWebhookDelivery(delivery_id=delivery.delivery_id)
    again = (await receiver.until(2))[1]
    assert (verified(again, made.secret), again.headers["webhook-id"]) == (event, posted.headers["webhook-id"])
    assert len((await platform.delivery("delivered", 2)).attempts) == 2


async def test_after_a_rotation_deliveries_are_also_signed_with_the_old_secret(
    platform: Platform, receiver: Receiver
) -> None:
    made = await platform.CreateWebhook(url=receiver.url(), event_types=CANCELLED)
    rotated = await platform.RotateWebhookSecret(webhook_id=made.webhook.webhook_id)
    assert rotated.secret != made.secret
    await platform.cancelled()
    (posted,) = await receiver.until(1)
    assert verified(posted, made.secret) == verified(posted, rotated.secret)
    async with open_pool("orchestrator", platform.database) as pool, pool.connection() as connection:
        await connection.execute("UPDATE webhooks SET rotate_time = rotate_time - interval '25 hours'")
        rows = await (await connection.execute("SELECT webhooks::text AS row FROM webhooks")).fetchall()
        assert made.secret.removeprefix("whsec_")[:10] not in str(rows)
        assert rotated.secret.removeprefix("whsec_")[:10] not in str(rows)
    await platform.cancelled()
    posted = (await receiver.until(2))[1]
    verified(posted, rotated.secret)
    with pytest.raises(WebhookVerificationError):
        verified(posted, made.secret)


async def test_an_address_that_answers_410_is_disabled(platform: Platform, receiver: Receiver) -> None:
    made = await platform.CreateWebhook(url=receiver.url(), event_types=CANCELLED)
    receiver.answers = ["410 Gone"]
    await platform.cancelled()
    delivery = await platform.delivery("gone", 1)
    webhook_id = made.webhook.webhook_id
    assert (await platform.GetWebhook(webhook_id=webhook_id)).webhook.disable_time
    with pytest.raises(errors.FailedPrecondition) as refused:
        await platform.ReplayWebhookDelivery(delivery_id=delivery.delivery_id)
    assert refused.value.reason == "WEBHOOK_DISABLED"
    await platform.cancelled()
    await platform.all_placed()
    await platform.RotateWebhookSecret(webhook_id=webhook_id)
    job_id = await platform.cancelled()
    posted = (await receiver.until(2))[1]
    assert json.loads(posted.body)["job_id"] == job_id, "what happened meanwhile is not posted"


async def test_a_redirect_is_not_followed(platform: Platform, receiver: Receiver, certificates: Path) -> None:
    async with Receiver(certificates) as trap:
        receiver.answers = [f"307 Temporary Redirect\r\nlocation: {trap.url()}"]
        await platform.CreateWebhook(url=receiver.url(), event_types=CANCELLED)
        await platform.cancelled()
        delivery = await platform.delivery("pending", 1)
        assert (delivery.attempts[0].http_status, trap.connections) == (307, 0)
        assert delivery.next_time


@pytest.mark.parametrize(
    "host",
    [
        *("169.254.169.254", "0xA9FEA9FE", "2852039166", "10.0.0.1", "127.0.0.2", "0.0.0.0", "[::1]"),  # noqa: S104
        *("[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "0251.0376.0251.0376", "user@127.0.0.2"),
    ],
)
async def test_private_addresses_are_refused(refusing: Platform, host: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await refusing.CreateWebhook(url=f"https://{host}/hook")
    assert refused.value.reason == "WEBHOOK_ADDRESS_REFUSED"
    assert not (await refusing.ListWebhooks()).webhooks


async def test_no_connection_is_made_to_an_address_that_became_private(platform: Platform, certificates: Path) -> None:
    async with Receiver(certificates, host="127.0.0.2") as trap, Receiver(certificates) as receiver:
        await platform.CreateWebhook(url=receiver.url(), event_types=CANCELLED)
        async with open_pool("orchestrator", platform.database) as pool, pool.connection() as connection:
            await connection.execute("UPDATE webhooks SET url = %s", (trap.url(),))
        await platform.cancelled()
        delivery = await platform.delivery("pending", 1)
        assert "private or reserved network" in delivery.attempts[0].error
        assert trap.connections == 0


@pytest.mark.parametrize("url", ["http://example.com/", "ftp://example.com/", "example.com", "https://"])
async def test_a_webhook_is_an_https_address(refusing: Platform, url: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        await refusing.CreateWebhook(url=url)


async def test_events_of_a_job_are_delivered_to_its_webhook_url(platform: Platform, receiver: Receiver) -> None:
    url = receiver.url("/of-this-job")
    with pytest.raises(errors.FailedPrecondition) as refused:
        await platform.cancelled(webhook_url=url)
    assert refused.value.reason == "WEBHOOK_MISSING"
    made = await platform.CreateWebhook()
    with pytest.raises(errors.Conflict) as twice:
        await platform.CreateWebhook()
    assert twice.value.reason == "WEBHOOK_EXISTS"
    with pytest.raises(errors.InvalidArgument):
        await platform.cancelled(webhook_url="https://10.0.0.1/")
    await platform.cancelled()
    job_id = await platform.cancelled(webhook_url=url)
    (posted,) = await receiver.until(1)
    assert verified(posted, made.secret)["job_id"] == job_id
    assert posted.path == "/of-this-job"
    await platform.delivery("delivered", 1)
    assert len((await platform.ListWebhookDeliveries()).deliveries) == 1


async def test_another_users_webhooks_and_deliveries_are_not_found(platform: Platform, receiver: Receiver) -> None:
    made = await platform.CreateWebhook(url=receiver.url(), event_types=CANCELLED)
    await platform.CreateWebhook("user_2", url=receiver.url("/other"))
    await platform.cancelled()
    delivery = await platform.delivery("delivered", 1)
    for method in ("GetWebhook", "DeleteWebhook", "RotateWebhookSecret"):
        with pytest.raises(errors.NotFound) as refused:
            await getattr(platform, method)("user_2", webhook_id=made.webhook.webhook_id)
        assert refused.value.reason == "WEBHOOK_NOT_FOUND"
    for method in ("GetWebhookDelivery", "ReplayWebhookDelivery"):
        with pytest.raises(errors.NotFound) as refused:
            await getattr(platform, method)("user_2", delivery_id=delivery.delivery_id)
        assert refused.value.reason == "DELIVERY_NOT_FOUND"
    assert not (await platform.ListWebhookDeliveries("user_2")).deliveries
    assert [posted.path for posted in receiver.posted] == ["/hook"]
    bearer = platform.mesh.bearer("user_1", roles=("content.manage",))
    with pytest.raises(errors.PermissionDenied):
        await platform.webhooks.ListWebhooks(pb.ListWebhooksRequest(), metadata=bearer)
    await platform.DeleteWebhook(webhook_id=made.webhook.webhook_id)
    with pytest.raises(errors.NotFound):
        await platform.GetWebhook(webhook_id=made.webhook.webhook_id)


async def test_the_webhooks_of_an_account_are_limited_and_paged(platform: Platform, receiver: Receiver) -> None:
    made = [(await platform.CreateWebhook(url=receiver.url(f"/{n}"))).webhook.webhook_id for n in range(20)]
    with pytest.raises(errors.ResourceExhausted) as refused:
        await platform.CreateWebhook(url=receiver.url())
    assert refused.value.reason == "WEBHOOKS_EXHAUSTED"
    page = await platform.ListWebhooks(page_size=15)
    rest = await platform.ListWebhooks(page_size=15, page_token=page.next_page_token)
    assert [each.webhook_id for each in (*page.webhooks, *rest.webhooks)] == made[::-1]


async def test_a_failing_host_opens_its_circuit_breaker_in_the_metrics(platform: Platform, receiver: Receiver) -> None:
    await platform.CreateWebhook(url=receiver.url(), event_types=CANCELLED)
    receiver.answers += ["500 Internal Server Error"] * 5
    for _ in range(5):
        await platform.cancelled()
    await receiver.until(5)
    port = platform.mesh.config.metrics_ports["orchestrator"]
    metric = f'moneyprinter_breaker_state{{host="127.0.0.1:{receiver.port}"}} 2.0'
    async with httpx.AsyncClient() as http, asyncio.timeout(20):
        # The answer to the last post is noted a moment after it was sent.
        while metric not in (await http.get(f"http://127.0.0.1:{port}/metrics")).text:
            pass
    await platform.cancelled()
    await platform.delivery("pending", 0)
    assert len(receiver.posted) == 5
