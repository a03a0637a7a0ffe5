"""The synthesizer: a child process with Kokoro's model, which starts on demand and ends when it is idle.

Several chunks are spoken at once, each by one thread of the child. When the child is killed, its unfinished chunks fail
with `ChildFailed`; their callers repeat them, which starts another child.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.runtime import children

RATE = 24_000
FRAME_SAMPLES = 600
VOICES_FILE = Path(__file__).parent / "voices.npz"

_CHILD = Path(__file__).parent / "synthesis_child.py"
# The modules that change the model before it is stored.
_REWRITERS = [_CHILD.with_name(name) for name in ("vocoder.py", "onnx_graph.py")]
# numpy would reserve memory for threads that are never used.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
# A child is replaced after this much sound, long before its limit of CPU time, which is for a child that hangs.
_MAX_SOUND_SECONDS = 1500.0
_CPU_SECONDS = 3600


@dataclass(frozen=True)
class SynthesizerSettings:
    """The settings of the synthesizer."""

    model: tuple[Path, ...]
    """The files that are together the model."""
    cache: Path | None
    """The folder of the optimized model; None: the child optimizes the model at each start."""
    threads: int
    """The number of chunks that are spoken at once."""
    memory_bytes: int
    """The limit of the child's address space."""
    idle_seconds: float
    """The time without a chunk after which the child ends."""
    chunk_seconds: float = 180.0
    """The maximum time of a chunk."""


@dataclass(frozen=True)
class Utterance:
    """The sound of a chunk: 24 kHz, mono, 16 bit."""

    pcm: NDArray[np.int16]
    frames: tuple[int, ...]
    """The lengths of the start, each token, and the end, in units of 600 samples. Their sum is the whole sound."""


@dataclass
class _Process:
    """A child that starts or runs."""

    unfinished: dict[int, asyncio.Future[Utterance]] = field(default_factory=dict)
    child: children.Child | None = None
    requests: list[bytes] = field(default_factory=list)
    """The requests that wait for the start of the child."""
    is_open: bool = True
    """Whether it accepts chunks."""
    sound_seconds: float = 0.0
    closing: asyncio.TimerHandle | None = None
    task: asyncio.Task[None] | None = None

    def send(self, request: bytes) -> None:
        if self.child is None:
            self.requests.append(request)
        else:
            self.child.stdin.write(request)

    def close(self) -> None:
        """Accept no more chunks; the child ends after its last one."""
        self.is_open = False
        if self.child is not None and not self.child.stdin.is_closing():
            self.child.stdin.write_eof()


class Synthesizer:
    """Speaks chunks with a child process. `stop` ends it."""

    def __init__(self, settings: SynthesizerSettings) -> None:
        self.settings = settings
        self._limits = children.Limits(
            memory_bytes=settings.memory_bytes,
            cpu_seconds=_CPU_SECONDS,
            file_bytes=512 << 20,
            open_files=64,
            wall_seconds=0,
        )
        # One more than the threads, so that no thread waits for its next chunk.
        self._slots = asyncio.Semaphore(settings.threads + 1)
        self._processes: list[_Process] = []
        self._last_id = 0

    @property
    def process_ids(self) -> list[int]:
        """The process ids of the running children."""
        return [process.child.process.pid for process in self._processes if process.child is not None]

    async def synthesize(self, voice: str, tokens: Sequence[int], speed: float) -> Utterance:
        """Speak a chunk. Raises `ChildFailed` when the child fails or takes longer than `chunk_seconds`."""
        async with self._slots:
            return await self._synthesize(voice, tokens, speed)

    async def _synthesize(self, voice: str, tokens: Sequence[int], speed: float) -> Utterance:
        process = self._open_process()
        self._last_id += 1
        number = self._last_id
        request = {"id": number, "voice": voice, "tokens": list(tokens), "speed": speed}
        result: asyncio.Future[Utterance] = asyncio.get_running_loop().create_future()
        process.unfinished[number] = result
        process.send(json.dumps(request).encode() + b"\n")
        try:
            async with asyncio.timeout(self.settings.chunk_seconds):
                return await result
        except TimeoutError:
            if process.task is not None:
                process.task.cancel()
            limit = f"{self.settings.chunk_seconds:g} s"
            raise children.ChildFailed("synthesis", 0, "", self._limits, limit=limit) from None
        finally:
            process.unfinished.pop(number, None)
            self._schedule_close(process)

    async def stop(self) -> None:
        """End the children; unfinished chunks fail."""
        tasks = [process.task for process in self._processes if process.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cached_model(self) -> str:
        """The file of the optimized model, one for each model and version of ONNX Runtime; empty: none."""
        if self.settings.cache is None:
            return ""
        sizes = [path.stat().st_size for path in self.settings.model]
        codes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (_CHILD, *_REWRITERS)]
        source = json.dumps([version("onnxruntime"), sizes, *codes])
        return str(self.settings.cache / f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.onnx")

    def _open_process(self) -> _Process:
        process = next((process for process in self._processes if process.is_open), None)
        if process is None:
            process = _Process()
            self._processes.append(process)
            process.task = asyncio.create_task(self._run(process))
        if process.closing is not None:
            process.closing.cancel()
            process.closing = None
        return process

    def _schedule_close(self, process: _Process) -> None:
        """Close a process that has spoken much, at once; one without work, after the idle time."""
        if process.sound_seconds > _MAX_SOUND_SECONDS:
            process.close()
        elif not process.unfinished and process.closing is None:
            process.closing = asyncio.get_running_loop().call_later(self.settings.idle_seconds, process.close)

    async def _run(self, process: _Process) -> None:
        """Run a child until it ends, then fail its unfinished chunks."""
        settings = self.settings
        failure: BaseException = children.ChildFailed("synthesis", -15, "the service ends", self._limits)
        try:
            threads, cached = str(settings.threads), self._cached_model()
            command = [sys.executable, "-I", str(_CHILD), threads, cached, str(VOICES_FILE), *map(str, settings.model)]
            async with children.start(command, limits=self._limits, environment=_ENVIRONMENT, stdin=True) as child:
                process.child = child
                child.stdin.writelines(process.requests)
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    while True:
                        await _read_utterance(child, process)
                await child.check_success()
        except Exception as error:
            failure = error
        finally:
            process.is_open = False
            self._processes.remove(process)
            if process.closing is not None:
                process.closing.cancel()
            for result in process.unfinished.values():
                if not result.done():
                    result.set_exception(failure)


async def _read_utterance(child: children.Child, process: _Process) -> None:
    header = json.loads(await child.stdout.readuntil())
    samples = await child.stdout.readexactly(2 * header["samples"])
    process.sound_seconds += header["samples"] / RATE
    result = process.unfinished.get(header["id"])
    if result is not None and not result.done():
        result.set_result(Utterance(np.frombuffer(samples, np.int16), tuple(header["frames"])))
