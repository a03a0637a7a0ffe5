"""Children: programs that crash, leak or are attacked run as child processes, with limits, and never outlive us.

A child is spawned through a few lines of Python that set its limits and then become the program: it
gets a process group of its own, is killed when the thread that started it dies, and, on cancellation or
error, is killed with its whole group and waited for.

A child that a signal killed (the out-of-memory killer, a crash, an operator) is run again, twice. `to_error` is the
one place that decides what a failed child becomes for a user: its output never leaves the log.
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
from services.runtime.config import ConfigError
from services.runtime.progress import OnProgress, ignore_progress, rising

log = structlog.get_logger()

T = TypeVar("T")

# A Python program of ours, by its file or by its module.
_SCRIPT = re.compile(r"([a-z_]+)_child(?:\.py)?$")

# Runs in the child, isolated and without site packages (about 10 ms), then becomes the program.
# argv: parent's pid, signal at the parent's death, user or -1, niceness, address space, CPU seconds, file size, open
# files, program... A change of user keeps the one capability to open files (CAP_DAC_OVERRIDE, 1), whatever folders they
# are in, and nothing else of root; it comes first because it clears the signal at the parent's death.
_LAUNCH = """
import ctypes, os, resource, sys
parent, death, user, niceness, *limits = map(int, sys.argv[1:9])
if niceness:
    os.nice(niceness)
    try:  # Sessions share cores evenly on desktops, whatever is nice within them.
        with open("/proc/self/autogroup", "w") as group:
            group.write(str(niceness))
    except OSError:
        pass
libc = ctypes.CDLL(None, use_errno=True)
def must(failed):
    if failed:
        raise SystemExit("cannot change to user %d: %s" % (user, os.strerror(ctypes.get_errno())))
if user >= 0:
    must(libc.prctl(28, ctypes.c_ulong(4), 0, 0, 0))  # PR_SET_SECUREBITS: a change of user takes no capability
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    must(libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(2, 2, 2, 0, 0, 0)))
    must(libc.prctl(47, ctypes.c_ulong(2), ctypes.c_ulong(1), 0, 0))  # PR_CAP_AMBIENT_RAISE: programs inherit it
kinds = resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE
for kind, limit in zip(kinds, limits):
    if limit:
        hard = resource.getrlimit(kind)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        # At the soft limit of CPU time comes SIGXCPU, at the hard one SIGKILL, which would look like any other.
        grace = 5 if kind == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else 0
        resource.setrlimit(kind, (limit, limit + grace))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
libc.prctl(41, ctypes.c_ulong(1), 0, 0, 0)  # PR_SET_THP_DISABLE: huge pages make an encoder larger, and not faster
libc.prctl(1, death)
if os.getppid() != parent:
    sys.exit(1)
os.execvp(sys.argv[9], sys.argv[9:])
"""

# The niceness of work that nobody waits for by itself: it takes whatever cores are free. Who is waited for goes first.
BEHIND = 10

STDERR_LINES = 40
LOGGED_CHARACTERS = 2000
STREAM_BYTES = 1 << 20

# A child that is killed by a signal is run so many times, after these pauses: memory may be free again by then.
ATTEMPTS = 3
PAUSES_SECONDS = (0.3, 2.0)
# A child that used less of its time than this part, when that is over, has stood still.
IDLE_PART = 0.2
# When a client may try again what was killed in all attempts.
KILLED_RETRY_SECONDS = 10.0

# How a shell reports that a signal killed what it ran, and how ffmpeg reports that a signal interrupted it.
_SHELL_CODES = {
    128 + number for number in (signal.SIGABRT, signal.SIGBUS, signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM)
}
_FFMPEG_INTERRUPTED = (255, 123)
# The one error of its own that ffmpeg ends with 255 for.
_EPERM = os.strerror(errno.EPERM)
# What programs print whose memory limit is reached: the C library, Python, numpy, C++.
_NO_MEMORY = ("Cannot allocate memory", "MemoryError", "Unable to allocate", "std::bad_alloc")
# What ffmpeg and its libraries print, and what it means for the user; everything else is in the log only.
_CAUSES = (
    ("Invalid data found when processing input", "its input is damaged"),
    ("moov atom not found", "its input is damaged or incomplete"),
    ("matches no streams", "its input has no such picture or sound"),
    ("does not contain any stream", "its input has neither picture nor sound"),
    ("not on whitelist", "its input is of a kind that is not taken, or leads to other files"),
    ("Decoder not found", "its input is coded in a way that it cannot read"),
)
# What ffmpeg is told first, so that it asks nothing, and says only what went wrong.
QUIET = ("-hide_banner", "-nostdin", "-y", "-loglevel", "error")


@dataclass(frozen=True)
class Limits:
    """What a child may use; 0 is no limit."""

    memory_bytes: int = 4 << 30
    """Address space."""
    cpu_seconds: int = 3600
    """Time on the CPU, all threads together."""
    file_bytes: int = 16 << 30
    """The largest file that it may write."""
    open_files: int = 256
    """Files open at once."""
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
        """Whether it took its whole time and hardly ran: it was stopped, or the machine did not get to it."""
        self.program = program
        """Its name, without a folder."""
        self.code = code
        """Its exit code; -N when signal N killed it."""
        self.stderr = stderr
        """The last lines that it wrote to its standard error; not for users."""
        self.attempts = 1
        """How often it was run."""
        self.limits = limits
        self.limit = limit or self._reached(seconds)
        """The limit that it reached, such as `120 s of CPU time`; empty: none."""

    @property
    def killed(self) -> bool:
        """Whether it was killed or stopped from outside, by no fault of its own and of its input."""
        if self.limit or self.stalled:
            return self.stalled
        interrupted = self.program == "ffmpeg" and self.code in _FFMPEG_INTERRUPTED and _EPERM not in self.stderr
        return self.code < 0 or self.code in _SHELL_CODES or interrupted

    @property
    def ending(self) -> str:
        """How it ended: the name of the signal, or its exit code."""
        number = -self.code if self.code < 0 else self.code - 128 if self.code in _SHELL_CODES else 0
        if number:
            return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        if self.stalled:
            return f"after it had stood still for {self.limit}"
        return "a signal" if self.killed else f"exit code {self.code}"

    def _reached(self, seconds: float) -> str:
        if any(words in self.stderr for words in _NO_MEMORY) and self.limits.memory_bytes:
            return f"{self.limits.memory_bytes >> 20} MB of memory"
        # ffmpeg catches SIGXCPU and ends as after any other signal; so long it must at least have run on all cores.
        busy = seconds * (os.cpu_count() or 1) >= self.limits.cpu_seconds > 0
        if self.code == -signal.SIGXCPU or (busy and self.code in (-signal.SIGKILL, *_FFMPEG_INTERRUPTED)):
            return f"{self.limits.cpu_seconds} s of CPU time"
        if self.code == -signal.SIGXFSZ:
            return f"{self.limits.file_bytes >> 20} MB for a file"
        return ""


def to_error(failure: ChildFailed, what: str, kind: type[Error], *, reason: str) -> Error:
    """The error that a user sees of a failed child. Its output goes to the log, under the id that the message names.

    `what` is the step that failed, such as `the sound could not be made`; `kind` and `reason` are those of a child that
    refused its input or reached a limit. One that was killed is Internal, CHILD_KILLED, and names program and limits.
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
    if failure.killed:
        return Internal(
            f"{what}: {failure.program} was killed ({failure.ending}) in {failure.attempts} of {failure.attempts} "
            f"attempts; it may use {_in_words(failure.limits)}. The machine may "
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


def _in_words(limits: Limits) -> str:
    """The limits of a child, for people."""
    words = [
        f"{limits.memory_bytes >> 20} MB of memory" if limits.memory_bytes else "",
        f"{limits.cpu_seconds} s of CPU time" if limits.cpu_seconds else "",
        f"{limits.wall_seconds:g} s" if limits.wall_seconds else "",
    ]
    return ", ".join(filter(None, words)) or "all that there is"


async def retry_killed(work: Callable[[], Awaitable[T]]) -> T:
    """Return what `work` returns; when a signal kills its child, begin it anew, at most ATTEMPTS times in all.

    Raises `ChildFailed` of the last attempt.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await work()
        except ChildFailed as failure:
            failure.attempts = attempt
            if not failure.killed or attempt == ATTEMPTS:
                raise
            log.warning("child killed, running it again", program=failure.program, ending=failure.ending)
        await asyncio.sleep(PAUSES_SECONDS[attempt - 1])
    raise AssertionError("the last attempt returns or raises")


def _name_of(command: Sequence[str | Path]) -> str:
    """What a program is called: a script by its file or module, ffmpeg as that, however its file is called."""
    found = (_SCRIPT.search(str(part)) for part in command[1:])
    script = next((match[1] for match in found if match), None)
    name = Path(command[0]).name
    return script if script else "ffmpeg" if name.startswith("ffmpeg") else name


@dataclass
class Child:
    """A running child. `stdin` and `stdout` are streams where they were asked for."""

    process: asyncio.subprocess.Process
    program: str
    limits: Limits = Limits()
    last_words: deque[str] = field(default_factory=lambda: deque(maxlen=STDERR_LINES))
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

    async def succeeded(self) -> None:
        """Wait for the end. Raises ChildFailed when it was not a good one, ResourceExhausted when the disk was full."""
        if code := await self.process.wait():
            # Its last words may still be on the way; a child of its own may keep the line open.
            if self.listener is not None:
                await asyncio.wait([self.listener], timeout=1.0)
            said = "\n".join(self.last_words)
            if any(os.strerror(number) in said for number in errors.FULL):
                raise errors.disk_full()
            raise ChildFailed(self.program, code, said, self.limits, seconds=time.monotonic() - self.started)


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
    """Run `command` while the context is open; when it closes, whatever still runs of it is killed.

    `folder` is its working directory. It inherits no environment but PATH and LANG, and `environment`, and no open
    files but `descriptors`.
    With `log`, all that it prints goes to that file, and it has no `stdout`. With `user_id`, root runs it as that user.
    With `niceness`, up to 19, others go first where cores are scarce. `death_signal` is what it gets when we die.
    After `limits.wall_seconds` the body is cancelled and ChildFailed raised.
    """
    figures = (limits.memory_bytes, limits.cpu_seconds, limits.file_bytes, limits.open_files)
    user = -1 if user_id is None else user_id
    who = (os.getpid(), int(death_signal), user, niceness)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _LAUNCH, *map(str, who + figures)),
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
        words, limit = "\n".join(child.last_words), f"{limits.wall_seconds:g} s"
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
            with suppress(OSError):  # What was still to be written went nowhere.
                await child.process.stdin.wait_closed()


def _cpu_seconds(pid: int) -> float:
    """How long a process has been on the CPU; 0 when it is gone."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


async def _discard(output: asyncio.StreamReader | None) -> None:
    """Read what nobody wants: asyncio tells of a child's end only when its pipes have come to theirs."""
    with suppress(RuntimeError):  # Somebody else still reads.
        while output is not None and await output.read(STREAM_BYTES):
            pass


async def _listen(child: Child) -> None:
    if child.process.stderr is None:
        return
    while not child.process.stderr.at_eof():
        with suppress(ValueError):  # A line longer than the stream holds; it is lost, and the next one is read.
            if line := await child.process.stderr.readline():
                child.last_words.append(line.decode(errors="replace").rstrip())


async def run(
    command: Sequence[str | Path],
    *,
    limits: Limits = Limits(),
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    user_id: int | None = None,
) -> bytes:
    """Run `command` to its end and return what it printed; when a signal kills it, run it again. Raises ChildFailed."""

    async def attempt() -> bytes:
        async with start(
            command, limits=limits, folder=folder, environment=environment, stdin=stdin is not None, user_id=user_id
        ) as child:
            if stdin is not None:
                child.stdin.write(stdin)
                child.stdin.write_eof()
            output = await child.stdout.read()
            await child.succeeded()
        return output

    return await retry_killed(attempt)


async def ffmpeg(
    program: Path,
    arguments: Sequence[str | Path],
    *,
    seconds: float,
    folder: Path,
    on_progress: OnProgress = ignore_progress,
    limits: Limits = Limits(),
    environment: Mapping[str, str] | None = None,
    niceness: int = 0,
) -> None:
    """Run ffmpeg in `folder`, and report the part of `seconds` of output that is done, 0 to 1, never less than before.

    When a signal kills it, it is run again, over what it wrote. Raises ChildFailed. Cancelling the call kills ffmpeg.
    """
    command = (program, *QUIET, "-nostats", "-progress", "pipe:1", *arguments)
    report = rising(on_progress)

    async def attempt() -> None:
        async with start(command, limits=limits, folder=folder, environment=environment, niceness=niceness) as child:
            while line := await child.stdout.readline():
                name, _, value = line.decode(errors="replace").strip().partition("=")
                if name == "out_time_us" and value.lstrip("-").isdigit():
                    report(min(1.0, max(0.0, int(value) / 1e6 / seconds)))
            await child.succeeded()

    await retry_killed(attempt)


async def ffmpeg_version(program: Path) -> str:
    """What ffmpeg prints as its version. Raises ConfigError when it cannot be run."""
    try:
        return (await run((program, "-version"), limits=Limits(wall_seconds=30.0))).decode().partition("\n")[0]
    except ChildFailed as failure:
        raise ConfigError(f"MONEYPRINTER_RUNTIME_FFMPEG: {program} cannot be run: {failure}") from None
