"""The knobs of the orchestrator."""

from __future__ import annotations

import os

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.config import PREFIX, DatabaseSettings


class Config(DatabaseSettings):
    """Settings of the orchestrator (`MONEYPRINTER_ORCHESTRATOR_...`)."""

    model_config = SettingsConfigDict(env_prefix=f"{PREFIX}ORCHESTRATOR_")

    database: str = "host=postgres dbname=moneyprinter user=orchestrator"
    nats: str = "tls://nats:4222"
    """Where NATS is."""
    jobs_at_once: int = 2
    """How many jobs one instance drives at once."""
    segments_at_once: int = 2 * len(os.sched_getaffinity(0))
    """How many segments of all its jobs one instance has rendered at once. By default as many as a processing
    instance on as many cores takes: half of them are drawn while the others are fetched, wait or are stored."""
    clips_at_once: int = 4
    """How many clips of one job are fetched at once."""
    lease_seconds: float = 10.0
    """How long a job stays with an instance that gives no sign of life."""
    reconcile_seconds: float = 30.0
    """How often jobs are looked for that are not on the queue although they have not ended."""
    max_attempts: int = 10
    """How often a job is taken up again after its instance died, before it is given up."""
    retention_days: int = Field(0, ge=0, le=3650)
    """How long videos and uploads are kept where an account has not chosen; 0: until they are deleted."""
    files_check_seconds: float = Field(6 * 3600.0, ge=0)
    """How often the stored files are compared with what is recorded; 0: never."""
    orphan_seconds: float = Field(24 * 3600.0, ge=0)
    """How long a stored file that belongs to no video or upload is left alone."""
    asset_max_bytes: int = 500_000_000
    """The largest upload."""
    uploads: int = Field(48, ge=1)
    """How many uploads come in at once, a quarter of them from one user; more are refused."""
    downloads: int = Field(200, ge=1)
    """How many files are sent at once; each may hold 1 MiB that its client does not read."""
    asset_folder: str = "assets"
    """The first part of the keys of uploads."""
    quota_bytes: int = Field(100_000_000_000, ge=0)
    """How many bytes the uploads and finished videos of one account may take; 0: any number."""
    quota_files: int = Field(100_000, ge=0)
    """How many uploads and finished videos one account may have; 0: any number."""
    quota_jobs: int = Field(1000, ge=0)
    """How many jobs of one account may be unfinished at once, those that wait included; 0: any number."""
    quota_minutes: int = Field(10_000, ge=0)
    """How many minutes of video one account may ask for within 24 hours, retries aside; 0: any number."""
    quota_fetched_bytes: int = Field(500_000_000_000, ge=0)
    """How many bytes of clips are fetched from other hosts for one account within 24 hours; 0: any number."""
