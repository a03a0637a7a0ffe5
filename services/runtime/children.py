"""Children: child processes with limits, for programs that may crash, leak or be attacked.

`launcher_child.py` sets the limits of a child and then becomes its program. The child has its own process group. It is
killed when the thread that started it dies; on cancellation or error its whole group is killed and awaited.

A child that a signal killed (the out-of-memory killer, a crash, an operator) runs again, at most twice. `to_error` maps
a failed child to the error for the user: its output goes to the log only.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import sys
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

import psutil
import structlog

from moneyprinter.errors import Error, Internal
from services.runtime import errors
from services.runtime.disk import DISK_FULL

log = structlog.get_logger()

T = TypeVar("T")

# A Python program of ours, by its file or its module.
_SCRIPT = re.compile(r"([a-z_]+)_child(?:\.py)?$")

_LAUNCHER = Path(__file__).with_name("launcher_child.py")

# The niceness of background work, which uses only idle cores.
BACKGROUND_NICENESS = 10

STDERR_LINES = 40
LOGGED_CHARACTERS = 2000
STREAM_BYTES = 1 << 20

# The runs of a child that a signal kills, and the pauses between them, after which memory may be free again.
ATTEMPTS = 3
PAUSES_SECONDS = (0.3, 2.0)
# A child that used less than this fraction of its wall time as CPU time has stalled.
IDLE_PART = 0.2
# The retry delay for a client whose work was killed in all attempts.
KILLED_RETRY_SECONDS = 10.0

# The exit codes of a shell whose program was killed by a signal, and of ffmpeg after a signal.
_SHELL_CODES = {
    128 + number for number in (signal.SIGABRT, signal.SIGBUS, signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM)
}
_FFMPEG_INTERRUPTED = (255, 123)
# The only error of ffmpeg itself with exit code 255.
_EPERM = os.strerror(errno.EPERM)
# What the C library, Python, numpy and C++ print at the memory limit.
_NO_MEMORY = ("Cannot allocate memory", "MemoryError", "Unable to allocate", "std::bad_alloc")
# Messages of ffmpeg and its libraries, and their meaning for the user; all other output goes to the log only.
_CAUSES = (
    ("Invalid data found when processing input", "its input is damaged"),
    ("moov atom not found", "its input is damaged or incomplete"),
    ("matches no streams", "its input has no such picture or sound"),
    ("does not contain any stream", "its input has neither picture nor sound"),
    ("not on whitelist", "its input is of a kind that is not taken, or leads to other files"),
    ("Decoder not found", "its input is coded in a way that it cannot read"),
)


@dataclass(frozen=True)
class Limits:
    """The limits of a child; 0 is no limit."""

    memory_bytes: int = 4 << 30
    """Address space."""
    cpu_seconds: int = 3600
    """CPU time of all threads together."""
    file_bytes: int = 16 << 30
    """The size of the largest file that it may write."""
    open_files: int = 256
    """Open files at once."""
    wall_seconds: float = 3600.0
    """Time from start to end."""


class ChildFailed(Exception):
    """A child ended with another code than 0, was killed, or reached one of its limits."""

    def __init__(
        self,
        program: str,
        code: int,
        stderr: str,
        limits: Limits = Limits(),
        *,
        seconds: float = 0.0,
        limit: str = "",
        stalled: bool = False,
    ) -> None:
        super().__init__(f"{program} reached {limit}" if limit else f"{program} ended with {code}: {stderr[-500:]}")
        self.stalled = stalled
        """Whether it reached its wall time with little CPU time: it was stopped, or the machine was overloaded."""
        self.program = program
        """The name of the program, without a folder."""
        self.code = code
        """The exit code; -N when signal N killed it."""
        self.stderr = stderr
        """The last lines of its standard error; not for users."""
        self.attempts = 1
        """How often it has run."""
        self.limits = limits
        self.limit = limit or self._reached_limit(seconds)
        """The limit that it reached, such as `120 s of CPU time`; empty: none."""

    @property
    def was_killed(self) -> bool:
        """Whether it was killed or stopped from outside, through no fault of its own or of its input."""
        if self.limit or self.stalled:
            return self.stalled
        interrupted = self.program == "ffmpeg" and self.code in _FFMPEG_INTERRUPTED and _EPERM not in self.stderr
        return self.code < 0 or self.code in _SHELL_CODES or interrupted

    @property
    def ending(self) -> str:
        """How it ended: the name of the signal, or the exit code."""
        number = -self.code if self.code < 0 else self.code - 128 if self.code in _SHELL_CODES else 0
        if number:
            return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        if self.stalled:
            return f"after it had stood still for {self.limit}"
        return "a signal" if self.was_killed else f"exit code {self.code}"

    def _reached_limit(self, seconds: float) -> str:
        if any(words in self.stderr for words in _NO_MEMORY) and self.limits.memory_bytes:
            return f"{self.limits.memory_bytes >> 20} MB of memory"
        # ffmpeg catches SIGXCPU and exits as after any other signal. It must have run at least this long on all cores.
        busy = seconds * (os.cpu_count() or 1) >= self.limits.cpu_seconds > 0
        if self.code == -signal.SIGXCPU or (busy and self.code in (-signal.SIGKILL, *_FFMPEG_INTERRUPTED)):
            return f"{self.limits.cpu_seconds} s of CPU time"
        if self.code == -signal.SIGXFSZ:
            return f"{self.limits.file_bytes >> 20} MB for a file"
        return ""


def to_error(failure: ChildFailed, what: str, kind: type[Error], *, reason: str) -> Error:
    """Return the error for the user of a failed child; the child's output goes to the log, under the id in the message.

    `what` is the step that failed, such as `the sound could not be made`. `kind` and `reason` are for a child that
    refused its input or reached a limit. A child that was killed becomes `Internal` with the reason CHILD_KILLED.
    """
    incident = uuid.uuid4().hex[:12]
    log.warning(
        "child failed",
        incident=incident,
        program=failure.program,
        code=failure.code,
        limit=failure.limit,
        stderr=failure.stderr[-LOGGED_CHARACTERS:],
    )
    if failure.was_killed:
        return Internal(
            f"{what}: {failure.program} was killed ({failure.ending}) in {failure.attempts} of {failure.attempts} "
            f"attempts; it may use {_describe(failure.limits)}. The machine may "
            "be short of memory: try again when it has less to do",
            reason="CHILD_KILLED",
            retry_after_seconds=KILLED_RETRY_SECONDS,
        )
    if failure.limit:
        return kind(f"{what}: {failure.program} reached its limit of {failure.limit}", reason=reason)
    for printed, meaning in _CAUSES:
        if printed in failure.stderr:
            return kind(f"{what}: {meaning} (incident {incident} in the log)", reason=reason)
    return kind(f"{what}: {failure.program} failed (incident {incident} in the log)", reason=reason)


def _describe(limits: Limits) -> str:
    """Return the limits of a child as text."""
    words = [
        f"{limits.memory_bytes >> 20} MB of memory" if limits.memory_bytes else "",
        f"{limits.cpu_seconds} s of CPU time" if limits.cpu_seconds else "",
        f"{limits.wall_seconds:g} s" if limits.wall_seconds else "",
    ]
    return ", ".join(filter(None, words)) or "all that there is"


async def retry_killed(work: Callable[[], Awaitable[T]]) -> T:
    """Return what `work` returns; when a signal kills its child, call `work` again, up to ATTEMPTS times in all.

    Raises `ChildFailed` of the last attempt.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await work()
        except ChildFailed as failure:
            failure.attempts = attempt
            if not failure.was_killed or attempt == ATTEMPTS:
                raise
            log.warning("child killed, running it again", program=failure.program, ending=failure.ending)
        await asyncio.sleep(PAUSES_SECONDS[attempt - 1])
    raise AssertionError("the last attempt returns or raises")


def _name_of(command: Sequence[str | Path]) -> str:
    """Return the name of a program: a child script's or module's, `ffmpeg` for any build of it, or the file name."""
    found = (_SCRIPT.search(str(part)) for part in command[1:])
    script = next((match[1] for match in found if match), None)
    name = Path(command[0]).name
    return script if script else "ffmpeg" if name.startswith("ffmpeg") else name


@dataclass
class Child:
    """A running child process."""

    process: asyncio.subprocess.Process
    program: str
    limits: Limits = Limits()
    stderr_tail: deque[str] = field(default_factory=lambda: deque(maxlen=STDERR_LINES))
    listener: asyncio.Task[None] | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def stdin(self) -> asyncio.StreamWriter:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        assert self.process.stdout is not None
        return self.process.stdout

    async def check_success(self) -> None:
        """Wait for the exit. Raises `ChildFailed` when it failed, and `ResourceExhausted` when the disk is full."""
        if code := await self.process.wait():
            # Its last output may still be in the pipe, and a process that it started may hold the pipe open.
            if self.listener is not None:
                await asyncio.wait([self.listener], timeout=1.0)
            stderr = "\n".join(self.stderr_tail)
            if any(os.strerror(number) in stderr for number in DISK_FULL):
                raise errors.disk_full()
            raise ChildFailed(self.program, code, stderr, self.limits, seconds=time.monotonic() - self.started)


@asynccontextmanager
async def start(
    command: Sequence[str | Path],
    *,
    limits: Limits = Limits(),
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: bool = False,
    descriptors: Sequence[int] = (),
    log: IO[bytes] | None = None,
    user_id: int | None = None,
    niceness: int = 0,
    death_signal: signal.Signals = signal.SIGKILL,
) -> AsyncIterator[Child]:
    """Run `command` while the context is open; when the context closes, its process group is killed.

    `folder` is its working directory. It inherits PATH, LANG and `environment`, and of the open files `descriptors`.
    With `log`, its output goes to that file, and it has no `stdout`. With `user_id`, root runs it as that user.
    `niceness` is from 0 to 19. `death_signal` is its signal when this process dies. After `limits.wall_seconds` the
    body is cancelled and `ChildFailed` raised.
    """
    figures = (limits.memory_bytes, limits.cpu_seconds, limits.file_bytes, limits.open_files)
    user = -1 if user_id is None else user_id
    identity = (os.getpid(), int(death_signal), user, niceness)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(_LAUNCHER), *map(str, identity + figures)),
        *map(str, command),
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=log or asyncio.subprocess.PIPE,
        stderr=log or asyncio.subprocess.PIPE,
        pass_fds=descriptors,
        cwd=folder,
        env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **(environment or {})},
        start_new_session=True,
        limit=STREAM_BYTES,
    )
    child = Child(process, _name_of(command), limits)
    listener = child.listener = asyncio.create_task(_listen(child))
    clock = asyncio.timeout(limits.wall_seconds or None)
    try:
        async with clock:
            yield child
            await process.wait()
    except TimeoutError:
        if not clock.expired():
            raise
        words, limit = "\n".join(child.stderr_tail), f"{limits.wall_seconds:g} s"
        stalled = _cpu_seconds(process.pid) < IDLE_PART * limits.wall_seconds
        code = process.returncode or 0
        raise ChildFailed(child.program, code, words, limits, limit=limit, stalled=stalled) from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(asyncio.gather(process.wait(), _discard(process.stdout)))
        listener.cancel()
        if child.process.stdin is not None:
            child.process.stdin.close()
            with suppress(OSError):  # Its reader is gone.
                await child.process.stdin.wait_closed()


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process; 0 when it is gone."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


async def _discard(output: asyncio.StreamReader | None) -> None:
    """Read and drop the remaining output: asyncio reports a child's exit only after its pipes have ended."""
    with suppress(RuntimeError):  # Another task still reads.
        while output is not None and await output.read(STREAM_BYTES):
            pass


async def _listen(child: Child) -> None:
    if child.process.stderr is None:
        return
    while not child.process.stderr.at_eof():
        with suppress(ValueError):  # A line longer than the buffer is dropped.
            if line := await child.process.stderr.readline():
                child.stderr_tail.append(line.decode(errors="replace").rstrip())


async def run(
    command: Sequence[str | Path],
    *,
    limits: Limits = Limits(),
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    user_id: int | None = None,
) -> bytes:
    """Run `command` and return its output; when a signal kills it, run it again. Raises `ChildFailed` when it fails."""

    async def attempt() -> bytes:
        async with start(
            command, limits=limits, folder=folder, environment=environment, stdin=stdin is not None, user_id=user_id
        ) as child:
            if stdin is not None:
                child.stdin.write(stdin)
                child.stdin.write_eof()
            output = await child.stdout.read()
            await child.check_success()
        return output

    return await retry_killed(attempt)
