"""Telemetry: events are logged as JSON lines, a trace id follows a request through every service, calls are counted.

What is counted can be read as Prometheus reads it, where a port is set for that. Log events, not prose:
`log.info("stage done", job_id=job, seconds=3.2)`. Never a secret, a script or a token.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TextIO

import structlog
from prometheus_client import REGISTRY, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.runtime.config import ConfigError, RuntimeConfig

TRACEPARENT = "traceparent"

_TRACE = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_trace_id: ContextVar[str] = ContextVar("trace_id", default="")

log = structlog.get_logger()

_CALL_SECONDS = Histogram(
    "rpc_server_call_duration_seconds",
    "How long calls took, by what they ended with",
    ("service", "method", "code"),
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0),
)


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
        seconds = time.perf_counter() - started
        level("call", service=service, method=method, milliseconds=round(seconds * 1000, 1), **outcome)
        _CALL_SECONDS.labels(service, method, outcome["code"]).observe(seconds)


@dataclass(frozen=True)
class Gauge:
    """A figure for each of some things, which is read when somebody asks."""

    name: str
    what: str
    """What it is, in a sentence."""
    label: str
    """What kind of things have it."""


class _Gauges(Collector):
    """Those that are there now; several services of a process may have the same."""

    def __init__(self) -> None:
        self.readers: list[tuple[Gauge, Callable[[], Mapping[str, float]]]] = []

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found: dict[Gauge, Counter[str]] = {}
        for gauge, read in list(self.readers):
            found.setdefault(gauge, Counter()).update(read())
        for gauge, figures in found.items():
            family = GaugeMetricFamily(gauge.name, gauge.what, labels=(gauge.label,))
            for thing, figure in figures.items():
                family.add_metric((thing,), figure)
            yield family


_GAUGES = _Gauges()
REGISTRY.register(_GAUGES)


@contextmanager
def gauged(gauge: Gauge, read: Callable[[], Mapping[str, float]]) -> Iterator[None]:
    """Let a figure be read while the context is open; of several that read it, the sum."""
    reader = gauge, read
    _GAUGES.readers.append(reader)
    try:
        yield
    finally:
        _GAUGES.readers.remove(reader)


@contextmanager
def readable(config: RuntimeConfig, service: str) -> Iterator[None]:
    """Serve what is counted over HTTP, at the port that is set for a service, while the context is open."""
    port = config.metrics_ports.get(service)
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, config.bind)
    except OSError:
        raise ConfigError(f"the metrics of {service} cannot be read at port {port}: it is in use") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
