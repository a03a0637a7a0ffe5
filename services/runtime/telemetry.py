"""Telemetry: events are logged as JSON lines, a trace id follows a request through every service, calls are counted.

What is counted can be read as Prometheus reads it, where a port is set for that. Log events, not prose:
`log.info("stage done", job_id=job, seconds=3.2)`. Never a secret, a script or a token.

Logging never raises and never waits: a thread writes the lines. grpc.aio logs what a handler raised before it ends the
call, and asyncio what a callback raised: where that raised in turn, on a full disk, calls never ended, and `up` did.
"""

from __future__ import annotations

import atexit
import io
import json
import logging
import os
import queue
import re
import secrets
import select
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog
from prometheus_client import REGISTRY, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.runtime.config import ConfigError, RuntimeConfig

TRACEPARENT = "traceparent"

# So many lines wait to be written while the disk or a pipe is slow; they take some megabytes.
QUEUED_LINES = 10_000
# Lines are written together when they come so soon after each other: each write wakes a thread.
BATCH_SECONDS, BATCH_LINES = 0.005, 500
CLOSE_SECONDS = 2.0

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
        try:
            message = record.getMessage()
        except Exception:  # Its arguments do not fit.
            message = str(record.msg)
        log.log(record.levelno, message, logger=record.name, exc_info=record.exc_info)


class LogWriter:
    """Writes lines to a file from a thread of its own. A line that cannot be queued or written is lost and counted.

    The count is logged as soon as a line can be written again.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        # Its `put` may be called from a destructor or a signal handler while another one runs.
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._torn = False
        """Whether the last line in the file is not whole."""
        self.lost = 0
        """How many lines are lost, and not yet reported."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def msg(self, line: str) -> None:
        """Queue a line."""
        if self._lines.qsize() < QUEUED_LINES:
            self._lines.put(line)
        else:
            self.lost += 1

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg

    def close(self) -> None:
        """Write what is queued, within CLOSE_SECONDS; what is logged afterwards is lost."""
        self._lines.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            lines = [line]
            time.sleep(BATCH_SECONDS)
            while len(lines) < BATCH_LINES and not self._lines.empty():
                if (line := self._lines.get()) is None:
                    self._lines.put(None)
                    break
                lines.append(line)
            self._write(lines)
        os.close(self._descriptor)

    def _write(self, lines: list[str]) -> None:
        head, reported = b"\n" if self._torn else b"", self.lost
        if reported:
            event = {"event": "log lines lost", "lines": reported, "level": "warning"}
            head += json.dumps({**event, "timestamp": datetime.now(UTC).isoformat()}).encode() + b"\n"
        data = head + "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")
        done = self._write_bytes(data)
        if done:
            self._torn = not data[:done].endswith(b"\n")
        self.lost += max(0, len(lines) - max(0, data[:done].count(b"\n") - head.count(b"\n")))
        if done >= len(head):
            self.lost -= reported

    def _write_bytes(self, data: bytes) -> int:
        """Write as much as can be written; how much that was."""
        done = 0
        while done < len(data):
            try:
                done += os.write(self._descriptor, data[done:])
            except BlockingIOError:
                select.select([], [self._descriptor], [], 1.0)
            except OSError:
                break
        return done


def configure(config: RuntimeConfig, output: TextIO | None = None) -> LogWriter | None:
    """Log JSON lines to `output` (standard error) from the configured level on, and the warnings of libraries.

    Returns what writes them, which is to be closed at the end; None when `output` is no file, and written to directly.
    """
    level = logging.getLevelNamesMapping()[config.log_level.upper()]
    writer = None
    try:
        writer = LogWriter((output or sys.stderr).fileno())
        atexit.register(writer.close)
    except (io.UnsupportedOperation, AttributeError, ValueError):  # No file, none at all, or one that is closed.
        pass
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=_forgiving(structlog.make_filtering_bound_logger(level), writer),
        logger_factory=structlog.PrintLoggerFactory(output) if writer is None else lambda *_: writer,
    )
    root = logging.getLogger()
    if not any(isinstance(handler, _Libraries) for handler in root.handlers):
        root.addHandler(_Libraries(logging.WARNING))
    return writer


def _forgiving(kind: Any, writer: LogWriter | None) -> Any:
    """A logger of a kind that loses what it cannot render instead of raising."""

    class Forgiving(kind):  # type: ignore[misc]
        def _proxy_to_logger(self, *arguments: Any, **fields: Any) -> Any:
            try:
                return super()._proxy_to_logger(*arguments, **fields)
            except structlog.DropEvent:
                raise
            except Exception:  # Such as in a destructor while the interpreter ends, or by an object without a repr.
                if writer is not None:
                    writer.lost += 1
                return None

    return Forgiving


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
