"""Telemetry: logs in JSON lines, trace ids across services, and Prometheus metrics.

Log events, not prose: `log.info("stage completed", job_id=job, seconds=3.2)`. Never log a secret, a script or a token.

Logging never raises and never blocks: a thread writes the lines. grpc.aio logs a handler's exception before it ends the
call, and asyncio logs a callback's. When logging itself raised on a full disk, calls hung and `up` exited.
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

# This many lines are queued while the disk or a pipe is slow; they take some megabytes.
QUEUED_LINES = 10_000
# Lines within this time are written in one batch, because each write wakes a thread.
BATCH_SECONDS, BATCH_LINES = 0.005, 500
CLOSE_SECONDS = 2.0

_TRACE = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_trace_id: ContextVar[str] = ContextVar("trace_id", default="")

log = structlog.get_logger()

_CALL_SECONDS = Histogram(
    "rpc_server_call_duration_seconds",
    "Duration of calls by status code",
    ("service", "method", "code"),
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0),
)


class _Libraries(logging.Handler):
    """Forwards the `logging` records of libraries to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # Its arguments do not fit.
            message = str(record.msg)
        log.log(record.levelno, message, logger=record.name, exc_info=record.exc_info)


class LogWriter:
    """Writes lines to a file on a thread of its own. Lines that cannot be queued or written are dropped and counted.

    The count is logged with the next line that is written.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        # Unlike that of `Queue`, its `put` is reentrant: a destructor or a signal handler may call it.
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._torn = False
        """Whether the last line in the file is incomplete."""
        self.lost = 0
        """The number of dropped lines that are not reported yet."""
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
        """Write the queued lines, within CLOSE_SECONDS. Later lines are dropped."""
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
        """Write as many bytes as possible, and return their number."""
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
    """Log JSON lines from the configured level on, and warnings of libraries, to `output`, by default standard error.

    Returns the writer, which the caller closes at the end, or None when `output` is no file and is written directly.
    """
    level = logging.getLevelNamesMapping()[config.log_level.upper()]
    writer = None
    try:
        writer = LogWriter((output or sys.stderr).fileno())
        atexit.register(writer.close)
    except (io.UnsupportedOperation, AttributeError, ValueError):  # No file, None, or a closed file.
        pass
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=_make_forgiving(structlog.make_filtering_bound_logger(level), writer),
        logger_factory=structlog.PrintLoggerFactory(output) if writer is None else lambda *_: writer,
    )
    root = logging.getLogger()
    if not any(isinstance(handler, _Libraries) for handler in root.handlers):
        root.addHandler(_Libraries(logging.WARNING))
    return writer


def _make_forgiving(kind: Any, writer: LogWriter | None) -> Any:
    """Return a subclass of a logger class that drops lines that it cannot render instead of raising."""

    class Forgiving(kind):  # type: ignore[misc]
        def _proxy_to_logger(self, *arguments: Any, **fields: Any) -> Any:
            try:
                return super()._proxy_to_logger(*arguments, **fields)
            except structlog.DropEvent:
                raise
            except Exception:  # For example in a destructor at interpreter exit, or from a `__repr__` that raises.
                if writer is not None:
                    writer.lost += 1
                return None

    return Forgiving


def trace_id() -> str:
    """Return the trace id of the request that is being served; empty outside of one."""
    return _trace_id.get()


def traceparent() -> str:
    """Return a W3C `traceparent` header for an outgoing call, in the trace of the request that is being served."""
    return f"00-{_trace_id.get() or secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


@contextmanager
def trace_context(header: str | None) -> Iterator[str]:
    """Join the trace of a `traceparent` header, or begin a new one, while the context is open; yields its id."""
    match = _TRACE.fullmatch(header or "")
    trace = match[1] if match else secrets.token_hex(16)
    token = _trace_id.set(trace)
    try:
        with structlog.contextvars.bound_contextvars(trace_id=trace):
            yield trace
    finally:
        _trace_id.reset(token)


@contextmanager
def log_call(service: str, method: str) -> Iterator[dict[str, str]]:
    """Log and count a call when the context closes. Yields the outcome, in which the caller sets `code` and more."""
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
    """A metric with one label, whose values are read at each scrape."""

    name: str
    description: str
    """What it measures, in a sentence."""
    label: str
    """The name of its label."""


class _Gauges(Collector):
    """The registered gauges. Several services in one process may register the same one."""

    def __init__(self) -> None:
        self.readers: list[tuple[Gauge, Callable[[], Mapping[str, float]]]] = []

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found: dict[Gauge, Counter[str]] = {}
        for gauge, read in list(self.readers):
            found.setdefault(gauge, Counter()).update(read())
        for gauge, figures in found.items():
            family = GaugeMetricFamily(gauge.name, gauge.description, labels=(gauge.label,))
            for thing, figure in figures.items():
                family.add_metric((thing,), figure)
            yield family


_GAUGES = _Gauges()
REGISTRY.register(_GAUGES)


@contextmanager
def register_gauge(gauge: Gauge, read: Callable[[], Mapping[str, float]]) -> Iterator[None]:
    """Export a gauge while the context is open: `read` returns its values by label, which add up over readers."""
    reader = gauge, read
    _GAUGES.readers.append(reader)
    try:
        yield
    finally:
        _GAUGES.readers.remove(reader)


@contextmanager
def serve_metrics(config: RuntimeConfig, service: str) -> Iterator[None]:
    """Serve the metrics over HTTP while the context is open, when `config.metrics_ports` has a port for the service.

    Raises `ConfigError` when the port is in use.
    """
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
