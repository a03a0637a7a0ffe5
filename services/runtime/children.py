"""Children: programs that crash, leak or are attacked run as child processes, with limits, and never outlive us.

A child is spawned through a few lines of Python that set its limits and then become the program: it
gets a process group of its own, is killed when the thread that started it dies, and, on cancellation or
error, is killed with its whole group and waited for.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from services.runtime import errors
from services.runtime.config import ConfigError

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
        resource.setrlimit(kind, (limit, limit))
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
WORDS = 300
# How ffmpeg names the part of it that speaks: `[libx264 @ 0x55f1d162fe00] `.
_ADDRESS = re.compile(r"\[[^\]]* @ 0x[0-9a-f]+\] ")
STREAM_BYTES = 1 << 20
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
    """A child ended with another code than 0, or was killed."""

    def __init__(self, program: str, code: int, stderr: str) -> None:
        super().__init__(f"{program} ended with {code}: {stderr[-500:]}")
        self.code = code
        """Its exit code; -N when signal N killed it."""
        self.stderr = stderr
        """The last lines that it wrote to its standard error."""

    def last_words(self, folder: Path) -> str:
        """What it said, for people: one short line, in which `folder`, where it ran, is not named."""
        words = " ".join(_ADDRESS.sub("", self.stderr.replace(f"{folder}/", "")).split())
        # The cause comes first, or last; what follows from it is in between.
        return words if len(words) <= WORDS else f"{words[: WORDS // 2]} ... {words[-WORDS // 2 :]}"


@dataclass
class Child:
    """A running child. `stdin` and `stdout` are streams where they were asked for."""

    process: asyncio.subprocess.Process
    program: str
    last_words: deque[str] = field(default_factory=lambda: deque(maxlen=STDERR_LINES))
    listener: asyncio.Task[None] | None = None

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
            raise ChildFailed(self.program, code, said)


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
    Raises TimeoutError in the body after `limits.wall_seconds`.
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
    child = Child(process, Path(command[0]).name)
    listener = child.listener = asyncio.create_task(_listen(child))
    try:
        async with asyncio.timeout(limits.wall_seconds or None):
            yield child
            await process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(asyncio.gather(process.wait(), _discard(process.stdout)))
        listener.cancel()
        if child.process.stdin is not None:
            child.process.stdin.close()
            with suppress(OSError):  # What was still to be written went nowhere.
                await child.process.stdin.wait_closed()


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
    """Run `command` to its end and return its standard output. Raises ChildFailed or TimeoutError."""
    async with start(
        command, limits=limits, folder=folder, environment=environment, stdin=stdin is not None, user_id=user_id
    ) as child:
        if stdin is not None:
            child.stdin.write(stdin)
            child.stdin.write_eof()
        output = await child.stdout.read()
        await child.succeeded()
    return output


async def ffmpeg(
    program: Path,
    arguments: Sequence[str | Path],
    *,
    seconds: float,
    folder: Path,
    limits: Limits = Limits(),
    environment: Mapping[str, str] | None = None,
    niceness: int = 0,
) -> AsyncGenerator[float, None]:
    """Run ffmpeg in `folder`, and yield the part of `seconds` of output that is done, 0 to 1.

    Raises ChildFailed with ffmpeg's last words. Closing the generator kills ffmpeg.
    """
    command = (program, *QUIET, "-nostats", "-progress", "pipe:1")
    async with start(
        (*command, *arguments), limits=limits, folder=folder, environment=environment, niceness=niceness
    ) as child:
        while line := await child.stdout.readline():
            name, _, value = line.decode(errors="replace").strip().partition("=")
            if name == "out_time_us" and value.lstrip("-").isdigit():
                yield min(1.0, max(0.0, int(value) / 1e6 / seconds))
        await child.succeeded()


async def ffmpeg_version(program: Path) -> str:
    """What ffmpeg says of its version. Raises ConfigError when it cannot be run."""
    try:
        return (await run((program, "-version"), limits=Limits(wall_seconds=30.0))).decode().partition("\n")[0]
    except (ChildFailed, TimeoutError) as failure:
        raise ConfigError(f"MONEYPRINTER_RUNTIME_FFMPEG: {program} cannot be run: {failure}") from None
