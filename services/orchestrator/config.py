"""The configuration of the orchestrator."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import PREFIX, DatabaseSettings


class Config(DatabaseSettings):
    """Settings of the orchestrator (`MONEYPRINTER_ORCHESTRATOR_...`)."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}ORCHESTRATOR_")

    database: str = "host=postgres dbname=moneyprinter user=orchestrator"
    nats: str = "tls://nats:4222"
    """The URL of NATS."""
    jobs_at_once: int = 2
    """The number of jobs that one instance runs at once."""
    segments_at_once: int = 2 * len(os.sched_getaffinity(0))
    """The number of segments, of all its jobs, that one instance has rendered at once. The default is what a processing
    instance with the same number of cores accepts: half are rendered while the others are fetched, queued or stored."""
    shares_machine: bool = False
    """Whether the media services run on the same machine, whose cores and load then count in the first estimates."""
    clips_at_once: int = 4
    """The number of clips of one job that are fetched at once."""
    lease_seconds: float = 10.0
    """How long an instance holds a job without a heartbeat."""
    reconcile_seconds: float = 30.0
    """The period in which active jobs whose queue messages were lost are queued again."""
    max_attempts: int = 10
    """The number of instances that may die while they work on a job, before the job fails."""
    check_seconds: float = Field(1.0, gt=0, le=60)
    """The time in which other services check a request; what they have not checked by then, the job checks. The default
    lets CreateVideo respond within two seconds even when one of them hangs."""
    review_days: float = Field(7.0, gt=0, le=365)
    """How long a job waits for the review of its owner, before it fails."""
    retention_days: int = Field(0, ge=0, le=3650)
    """The retention of videos and uploads of accounts without a setting; 0: until they are deleted."""
    files_check_seconds: float = Field(6 * 3600.0, ge=0)
    """The period of the reconciliation of stored files with the database; 0: never."""
    orphan_seconds: float = Field(24 * 3600.0, ge=0)
    """The age at which a stored file that belongs to no video or upload is removed."""
    asset_max_bytes: int = 500_000_000
    """The largest upload."""
    uploads: int = Field(48, ge=1)
    """The number of concurrent uploads, a quarter of them from one user; more are refused."""
    downloads: int = Field(200, ge=1)
    """The number of concurrent downloads; each may hold 1 MiB that its client does not read."""
    asset_folder: str = "assets"
    """The first part of the keys of uploads."""
    quota_bytes: int = Field(100_000_000_000, ge=0)
    """The quota of bytes of uploads and finished videos per account; 0: no limit."""
    quota_files: int = Field(100_000, ge=0)
    """The quota of uploads and finished videos per account; 0: no limit."""
    quota_jobs: int = Field(1000, ge=0)
    """The quota of active jobs per account, queued ones included; 0: no limit."""
    quota_minutes: int = Field(10_000, ge=0)
    """The quota of minutes of video that an account requests within 24 hours, without retries; 0: no limit."""
    cost_per_month: float | None = Field(None, ge=0)
    """What providers may charge for the videos of an account in a calendar month (UTC), in the currency of the price
    settings; administrators can set another limit for an account. 0: providers that charge are not used; not set: no
    limit."""
    cost_per_job: float | None = Field(None, ge=0)
    """What providers may charge for one video. Not set: a tenth of the limit for a month, if there is one."""
    quota_fetched_bytes: int = Field(500_000_000_000, ge=0)
    """The quota of bytes of clips that are fetched from other hosts for an account within 24 hours; 0: no limit."""

    environment_defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {"staging": {"retention_days": 30}}

    def find_insecure(self) -> Iterator[tuple[str, str]]:
        """Yield what the database yields, and a connection to NATS without TLS."""
        yield from super().find_insecure()
        if not self.nats.startswith("tls://"):
            yield "nats", "NATS without TLS; write tls://HOST:PORT"
