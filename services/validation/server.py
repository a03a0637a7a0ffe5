"""The wiring of the validation service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from moneyprinter.validation.v1 import validation_service_pb2_grpc as pb_grpc
from services.runtime import identity
from services.runtime.admission import FairSemaphore
from services.runtime.server import Runtime
from services.validation.clips import ClipValidator
from services.validation.config import Config
from services.validation.probe import ProbeLimits
from services.validation.servicer import ValidationServicer
from services.validation.web import WEBHOOK, FetchRules, WebClient, create_tls_context


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve ValidationService."""
    rules = FetchRules(
        connect_seconds=config.connect_seconds,
        total_seconds=config.fetch_seconds,
        max_redirects=config.max_redirects,
        allow_http=config.allow_http,
        allowed_networks=config.allowed_networks,
    )
    context = create_tls_context(config.extra_authority)
    limits = ProbeLimits(
        max_pixels=config.max_pixels,
        max_still_pixels=config.max_still_pixels,
        max_duration_seconds=config.max_duration_seconds,
        memory_bytes=config.probe_memory_bytes,
        seconds=config.probe_seconds,
    )
    validator = ClipValidator(
        fetcher=WebClient(rules, context),
        objects=runtime.objects(),
        scratch=runtime.scratch,
        limits=limits,
        max_bytes=config.max_bytes,
        probe_turn=FairSemaphore(config.max_probes, identity.client).slot,
    )
    webhooks = WebClient(replace(rules, total_seconds=config.webhook_seconds), context, purpose=WEBHOOK)
    runtime.add(pb_grpc.add_ValidationServiceServicer_to_server, ValidationServicer(validator, webhooks))
    # The limits leave capacity for jobs. ProbeFile has its own, because clients may send their bytes slowly.
    runtime.limit(config.max_probe_clip_calls, "/moneyprinter.validation.v1.ValidationService/ProbeClip")
    runtime.limit(config.max_probe_file_calls, "/moneyprinter.validation.v1.ValidationService/ProbeFile")
    yield
