"""The wiring of the orchestrator: connects the domain to PostgreSQL, NATS, the media services and gRPC."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from moneyprinter.config.v1 import config_service_pb2_grpc
from moneyprinter.errors import DataLoss
from moneyprinter.orchestrator.v1 import orchestrator_service_pb2_grpc
from moneyprinter.video.v1 import (
    clip_service_pb2_grpc,
    event_service_pb2_grpc,
    library_service_pb2_grpc,
    provider_service_pb2_grpc,
    video_service_pb2_grpc,
    webhook_service_pb2_grpc,
)
from services.orchestrator.clip_servicer import ClipServicer
from services.orchestrator.config import Config
from services.orchestrator.event_servicer import EventServicer
from services.orchestrator.events.change_poller import ChangePoller
from services.orchestrator.events.feed import Feed, NewEvents, assign_positions, delete_old_events
from services.orchestrator.jetstream.job_queue import consume_jobs, requeue_lost_jobs
from services.orchestrator.jetstream.notifications import Notifications
from services.orchestrator.jetstream.relay import relay_outbox
from services.orchestrator.jetstream.streams import make_streams
from services.orchestrator.jobs import failpoints
from services.orchestrator.jobs.cleanup import run_cleanup
from services.orchestrator.jobs.driver import Driver
from services.orchestrator.jobs.estimates import Estimates
from services.orchestrator.jobs.express import drive_express
from services.orchestrator.jobs.journal import Journal
from services.orchestrator.jobs.model import Job, Result, StoredObject
from services.orchestrator.jobs.segment_scheduler import SegmentScheduler
from services.orchestrator.jobs.workflow import make_video
from services.orchestrator.library_servicer import LibraryServicer
from services.orchestrator.postgres.cleanup import PostgresCleanupQueue
from services.orchestrator.postgres.dead_letters import PostgresDeadLetters
from services.orchestrator.postgres.deliveries import PostgresDeliveryQueue
from services.orchestrator.postgres.feed import PostgresFeedStore
from services.orchestrator.postgres.footage import PostgresFootageRecords
from services.orchestrator.postgres.history import PostgresJobHistory
from services.orchestrator.postgres.library import PostgresLibraryStore
from services.orchestrator.postgres.links import PostgresLinkStore
from services.orchestrator.postgres.outbox import PostgresOutbox
from services.orchestrator.postgres.quotas import PostgresUsage
from services.orchestrator.postgres.reconciliation import PostgresFileRecords
from services.orchestrator.postgres.store import PostgresStore
from services.orchestrator.postgres.webhooks import PostgresWebhookStore
from services.orchestrator.provider_servicer import ProviderServicer
from services.orchestrator.servicer import OrchestratorServicer
from services.orchestrator.video_servicer import VideoServicer
from services.orchestrator.videos.clips import Clips
from services.orchestrator.videos.downloads import Downloads
from services.orchestrator.videos.library import Library
from services.orchestrator.videos.links import KEY_NAME as LINK_KEY
from services.orchestrator.videos.links import Links
from services.orchestrator.videos.quotas import QuotaRefusals, Quotas
from services.orchestrator.videos.reconciliation import Reconciliation
from services.orchestrator.videos.reviews import Reviews
from services.orchestrator.videos.uploads import Uploads
from services.orchestrator.videos.videos import POLL_SECONDS, Videos
from services.orchestrator.webhook_servicer import WebhookServicer
from services.orchestrator.webhooks.deliveries import ClaimedDelivery, WebhookDispatcher
from services.orchestrator.webhooks.signing import KEY_NAME as WEBHOOK_KEY
from services.orchestrator.webhooks.signing import WebhookSecrets
from services.orchestrator.webhooks.webhooks import Webhooks
from services.orchestrator.workers.accounts import GrpcAccounts
from services.orchestrator.workers.checks import GrpcChecks
from services.orchestrator.workers.grpc_workers import GrpcWorkers
from services.orchestrator.workers.messages import object_message, stored_object
from services.orchestrator.workers.previews import GrpcPreviews
from services.orchestrator.workers.prober import GrpcProber
from services.orchestrator.workers.stubs import Stubs
from services.orchestrator.workers.webhooks import GrpcWebhooks
from services.runtime import events, telemetry, turns
from services.runtime.issued_database import open_database
from services.runtime.objects import Objects
from services.runtime.secrets import LazyKey, SecretClient
from services.runtime.server import Runtime

BREAKERS = telemetry.Gauge(
    "moneyprinter_breaker_state", "Circuit breakers of webhook hosts that are not closed: 2 open, 1 half open", "host"
)
OPENNESS = {"closed": 0, "half_open": 1, "open": 2}
DRIVEN = telemetry.Gauge("moneyprinter_jobs_driven", "Jobs that this instance is running", "service")
MISSING = telemetry.Gauge(
    "moneyprinter_missing_files", "Recorded files that were missing from storage at the last reconciliation", "kind"
)

_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    config_service = config_service_pb2_grpc.ConfigServiceStub(
        runtime.connect("config", "moneyprinter.config.v1.ConfigService")
    )
    async with (
        open_database(runtime, config, config_service) as pool,
        events.connect(runtime.config, "orchestrator", config.nats) as client,
    ):
        stream = client.jetstream()
        await make_streams(stream)
        to_publish, to_position, files_left, due = (asyncio.Event() for _ in range(4))

        def on_commit() -> None:
            to_publish.set()
            to_position.set()

        limits = _create_quotas(config)
        usage = PostgresUsage(pool, limits)
        store = failpoints.with_failpoint(PostgresStore(pool, on_commit, files_left.set, limits=limits))
        notifications = Notifications(client)
        stubs, storage = Stubs.connect(runtime), runtime.objects()
        checks, webhook_client = GrpcChecks(stubs), GrpcWebhooks(stubs)
        scheduler, footage = SegmentScheduler(config.segments_at_once), PostgresFootageRecords(pool)

        async def make(job: Job, journal: Journal) -> Result:
            workers = GrpcWorkers(job, stubs, checks, storage, scheduler, footage)
            return await make_video(job, workers, journal, clips_at_once=config.clips_at_once)

        objects = _StoredObjects(storage)
        driver = Driver(
            store,
            make,
            notifications.publish_change,
            lease_seconds=config.lease_seconds,
            max_attempts=config.max_attempts,
            review_time=timedelta(days=config.review_days),
            is_stored=objects.is_stored,
            now=_now,
            clock=time.monotonic,
        )
        await notifications.subscribe_cancellations(driver.stop)
        secret_client = SecretClient(config_service)
        webhook_secrets = WebhookSecrets(LazyKey(secret_client, WEBHOOK_KEY))
        webhooks = Webhooks(
            store=PostgresWebhookStore(pool),
            check_address=webhook_client.check_address,
            derive_secret=webhook_secrets.derive,
            now=_now,
            new_id=_new_id,
            on_due=due.set,
        )
        feed_store = PostgresFeedStore(pool)
        feed = Feed(feed_store, _now)

        async def on_new_events(events: NewEvents) -> None:
            feed.wake(events.user_ids)
            if events.deliveries:
                due.set()
            await notifications.publish_new_events(events.user_ids)

        async def sign(delivery: ClaimedDelivery, now: datetime) -> dict[str, str]:
            return await webhook_secrets.sign(
                delivery.webhook_id, delivery.secret_versions, delivery.event_id, delivery.body, now
            )

        dispatcher = WebhookDispatcher(PostgresDeliveryQueue(pool), webhook_client.post, sign, _now, time.monotonic)
        await notifications.subscribe_new_events(feed.wake)
        estimates = Estimates(PostgresJobHistory(pool), machine=_read_machine if config.shares_machine else None)
        library = Library(PostgresLibraryStore(pool, config.retention_days), objects, usage, limits)
        videos = Videos(
            store=store,
            dead_letters=PostgresDeadLetters(pool),
            notifications=notifications,
            watchers=ChangePoller(store.versions, POLL_SECONDS),
            check_seconds=config.check_seconds,
            check_voice=checks.find_voice,
            check_translation=checks.check_translation,
            check_captions=checks.check_captions,
            check_texts=checks.check_texts,
            find_lexicon=library.find_lexicon,
            check_webhook=webhooks.check_job_address,
            estimate=estimates.duration,
            refusals=QuotaRefusals(usage, limits),
            now=_now,
            new_id=_new_id,
        )
        reviews = Reviews(
            store=store,
            check_seconds=config.check_seconds,
            check_voice=checks.find_voice,
            check_texts=checks.check_texts,
            estimate=estimates.duration,
            on_change=notifications.publish_change,
            now=_now,
        )
        downloads = Downloads(store, objects, GrpcPreviews(stubs).encode_sound)
        links = Links(store, PostgresLinkStore(pool), LazyKey(secret_client, LINK_KEY), _now, _new_id)
        uploads = Uploads(
            store=store,
            usage=usage,
            objects=objects,
            now=_now,
            new_id=_new_id,
            max_bytes=config.asset_max_bytes,
            folder=config.asset_folder,
        )
        runtime.add(
            video_service_pb2_grpc.add_VideoServiceServicer_to_server,
            VideoServicer(videos, reviews, downloads, links, uploads, runtime.stopping),
        )
        clips = Clips(store, GrpcProber(stubs))
        runtime.add(clip_service_pb2_grpc.add_ClipServiceServicer_to_server, ClipServicer(clips))
        runtime.add(
            orchestrator_service_pb2_grpc.add_OrchestratorServiceServicer_to_server, OrchestratorServicer(videos, usage)
        )
        accounts = GrpcAccounts(stubs)
        library_servicer = LibraryServicer(library, accounts.exists)
        runtime.add(library_service_pb2_grpc.add_LibraryServiceServicer_to_server, library_servicer)
        runtime.add(provider_service_pb2_grpc.add_ProviderServiceServicer_to_server, ProviderServicer(accounts))
        runtime.add(event_service_pb2_grpc.add_EventServiceServicer_to_server, EventServicer(feed, runtime.stopping))
        runtime.add(webhook_service_pb2_grpc.add_WebhookServiceServicer_to_server, WebhookServicer(webhooks))
        _limit_calls(config, runtime)
        runtime.check("database", store.active_jobs)
        files = Reconciliation(
            PostgresFileRecords(pool),
            objects,
            asset_folder=config.asset_folder,
            grace=timedelta(seconds=config.orphan_seconds),
            now=_now,
        )
        consumer = consume_jobs(
            stream, driver.drive, jobs_at_once=config.jobs_at_once, lease_seconds=config.lease_seconds
        )
        requeue = requeue_lost_jobs(
            store, stream, lease_seconds=config.lease_seconds, pause_seconds=config.reconcile_seconds
        )
        with (
            telemetry.register_gauge(
                BREAKERS, lambda: {host: OPENNESS[state] for host, state in dispatcher.breakers.items()}
            ),
            telemetry.register_gauge(DRIVEN, lambda: {"orchestrator": driver.job_count}),
            telemetry.register_gauge(MISSING, lambda: files.missing),
        ):
            async with (
                runtime.background(relay_outbox(PostgresOutbox(pool), stream, to_publish), "relay"),
                runtime.background(requeue, "requeue"),
                runtime.background(assign_positions(feed_store, to_position, on_new_events), "feed"),
                runtime.background(delete_old_events(feed_store), "old events"),
                runtime.background(dispatcher.run(due), "webhooks"),
                runtime.background(run_cleanup(PostgresCleanupQueue(pool), objects, files_left), "cleanup"),
                runtime.background(reviews.run_expiry(), "reviews"),
                runtime.background(library.run_expiry(files_left.set), "retention"),
                runtime.background(files.run(timedelta(seconds=config.files_check_seconds)), "files"),
                runtime.background(consumer, "consumer"),
                runtime.background(drive_express(driver, jobs_at_once=config.jobs_at_once), "express"),
            ):
                yield


def _create_quotas(config: Config) -> Quotas:
    return Quotas(
        bytes=config.quota_bytes,
        files=config.quota_files,
        jobs=config.quota_jobs,
        minutes=config.quota_minutes,
        fetched_bytes=config.quota_fetched_bytes,
        month_cost=config.cost_per_month,
        job_cost=config.cost_per_job,
    )


def _limit_calls(config: Config, runtime: Runtime) -> None:
    """Limit the concurrent uploads and downloads, and let the costly requests of a client take turns."""
    service = "/moneyprinter.video.v1.VideoService"
    runtime.limit(config.uploads, f"{service}/UploadAsset")
    names = ("DownloadVideo", "DownloadPreview", "OpenFileLink", "OpenPreviewLink")
    downloads = (f"{service}/{name}" for name in names)
    runtime.limit(config.downloads, *downloads, per_client=runtime.config.streams_per_client)
    runtime.take_turns(*(f"{service}/{name}Video" for name in ("Create", "Retry", "Cancel", "Delete")))
    # A small request of these works on whole jobs. While the database hangs, a client's other requests do not wait
    # for one of them.
    medium = (f"{service}/{name}" for name in ("ReviseVideo", "ApproveVideo", "ListVideos"))
    runtime.take_turns(*medium, weight=turns.MEDIUM)


class _StoredObjects:
    """The storage service, with the types of the orchestrator."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> StoredObject:
        return stored_object(await self._objects.put(key, chunks))

    async def get_piece(self, found: StoredObject, offset: int, length: int) -> bytes:
        return await self._objects.get_piece(object_message(found), offset, length)

    async def delete(self, key: str) -> None:
        await self._objects.delete(key)

    def list_keys(self, folder: str) -> AsyncIterator[Sequence[tuple[str, float]]]:
        return self._objects.list_keys(folder)

    async def fence(self, folder: str, up_to: int) -> None:
        await self._objects.fence(folder, up_to)

    async def is_stored(self, wanted: StoredObject) -> bool:
        """Return whether an object is stored with the recorded content. Reads its description only."""
        try:
            found = await self._objects.head(wanted.key)
        except DataLoss:
            return False
        return found is not None and stored_object(found) == wanted


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id(kind: str) -> str:
    return f"{kind}_{''.join(secrets.choice(_ID_ALPHABET) for _ in range(16))}"


def _read_machine() -> tuple[int, float]:
    """Return the number of cores that this process may use, and the load of the machine in the last minute."""
    return len(os.sched_getaffinity(0)), os.getloadavg()[0]
