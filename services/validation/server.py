"""The wiring of the validation service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from moneyprinter.validation.v1 import validation_service_pb2_grpc as pb_grpc
from services.runtime import access
from services.runtime.admission import Turns
from services.runtime.server import Runtime
from services.validation.clips import Desk
from services.validation.config import Config
from services.validation.probe import Bounds
from services.validation.servicer import ValidationServicer
from services.validation.web import WEBHOOK, Rules, Web, trust


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve ValidationService."""
    rules = Rules(
        connect_seconds=config.connect_seconds,
        total_seconds=config.fetch_seconds,
        max_redirects=config.max_redirects,
        allow_http=config.allow_http,
        allowed_networks=config.allowed_networks,
    )
    context = trust(config.extra_authority)
    bounds = Bounds(
        max_pixels=config.max_pixels,
        max_still_pixels=config.max_still_pixels,
        max_duration_seconds=config.max_duration_seconds,
        memory_bytes=config.probe_memory_bytes,
        seconds=config.probe_seconds,
    )
    desk = Desk(
        web=Web(rules, context),
        objects=runtime.objects(),
        scratch=runtime.scratch,
        bounds=bounds,
        max_bytes=config.max_bytes,
        reading=Turns(config.probes, access.client).turn,
    )
    webhooks = Web(replace(rules, total_seconds=config.webhook_seconds), context, purpose=WEBHOOK)
    runtime.add(pb_grpc.add_ValidationServiceServicer_to_server, ValidationServicer(desk, webhooks))
    # Who only looks at clips leaves room for the jobs. Bytes that are sent come as slowly as their sender likes.
    runtime.limit(config.looks, "/moneyprinter.validation.v1.ValidationService/ProbeClip")
    runtime.limit(config.arrivals, "/moneyprinter.validation.v1.ValidationService/ProbeFile")
    yield
