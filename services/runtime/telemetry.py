"""Telemetry: events are logged as JSON lines, and a trace id follows a request through every service.

Log events, not prose: `log.info("stage done", job_id=job, seconds=3.2)`. Never a secret, a script or a token.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

import structlog

from services.runtime.config import RuntimeConfig

TRACEPARENT = "traceparent"

_TRACE = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_trace_id: ContextVar[str] = ContextVar("trace_id", default="")

log = structlog.get_logger()


class _Libraries(logging.Handler):
    """Logs what libraries say through `logging` as we log."""

    def emit(self, record: logging.LogRecord) -> None:
        log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def configure(config: RuntimeConfig, output: TextIO = sys.stderr) -> None:
    """Log JSON lines to `output` from the configured level on, and the warnings of libraries."""
    level = logging.getLevelNamesMapping()[config.log_level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(output),
    )
    root = logging.getLogger()
    if not any(isinstance(handler, _Libraries) for handler in root.handlers):
        root.addHandler(_Libraries(logging.WARNING))


def trace_id() -> str:
    """The trace of the request that is served; empty when none is."""
    return _trace_id.get()


def traceparent() -> str:
    """The W3C `traceparent` header for a call made now, in the trace of the request that is served."""
    return f"00-{_trace_id.get() or secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


@contextmanager
def traced(header: str | None) -> Iterator[str]:
    """Belong to the trace of a `traceparent` header, or to a new one, while the context is open."""
    match = _TRACE.fullmatch(header or "")
    trace = match[1] if match else secrets.token_hex(16)
    token = _trace_id.set(trace)
    try:
        with structlog.contextvars.bound_contextvars(trace_id=trace):
            yield trace
    finally:
        _trace_id.reset(token)


@contextmanager
def logged_call(service: str, method: str) -> Iterator[dict[str, str]]:
    """Log a call when it has ended: its method, what it ended with (set `code` in the dict), its milliseconds."""
    outcome = {"code": "OK"}
    started = time.perf_counter()
    try:
        yield outcome
    finally:
        level = log.debug if outcome["code"] == "OK" else log.info
        milliseconds = round((time.perf_counter() - started) * 1000, 1)
        level("call", service=service, method=method, milliseconds=milliseconds, **outcome)
