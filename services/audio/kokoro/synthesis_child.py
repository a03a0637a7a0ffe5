"""Speaks phonemes with Kokoro's model in a child process. No module imports this file.

    synthesis_child.py THREADS CACHE VOICES PART [PART...]

CACHE is the file of the optimized model, which it writes when it is missing; empty: none. VOICES is the file of the
voices. The parts together are the model.

Standard input: one request per line, `{"id": 1, "voice": "af_heart", "tokens": [...], "speed": 1.0}`. Standard output,
for each request in the order in which they end: a line of JSON, `{"id": 1, "samples": n, "frames": [...]}`, then n
samples of 16 bit at 24 kHz. `frames` are the lengths of the start, the tokens and the end in units of 600 samples.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from services.audio.kokoro.vocoder import rewrite_vocoder

# The output of the model that holds the frames of each token. The model computes it, and does not declare it.
FRAMES = "/encoder/Clip_output_0"
PEAK = 0.98
# The most tokens that are spoken at once, unless one chunk alone has more: each needs some 2 MB of memory.
MAX_TOKENS_AT_ONCE = 200


class TokenBudget:
    """Lets chunks begin as long as those that are being spoken have few tokens together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.changed = threading.Condition()

    @contextmanager
    def reserve(self, tokens: int) -> Iterator[None]:
        """Wait until there is room for a chunk, and give the room back at the end."""
        with self.changed:
            self.changed.wait_for(lambda: not self.used or self.used + tokens <= self.limit)
            self.used += tokens
        try:
            yield
        finally:
            with self.changed:
                self.used -= tokens
                self.changed.notify_all()


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message, with a length of at most 127 bytes."""
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def frames_declaration() -> bytes:
    """The declaration of the output FRAMES, as the rest of a serialized model.

    Parsers of protobuf merge repeated occurrences of a message: bytes that follow the model add an output to its graph.
    """
    tensor = field(1, bytes([1 << 3, 1]))  # TypeProto.tensor_type: elem_type is FLOAT.
    value = field(1, FRAMES.encode()) + field(2, tensor)  # ValueInfoProto: name, type.
    return field(7, field(12, value))  # ModelProto.graph: output.


def read_model(parts: list[str]) -> bytes:
    """Read the model, with its vocoder rewritten where it is the one that is expected."""
    model = b"".join([Path(part).read_bytes() for part in parts]) + frames_declaration()
    try:
        return rewrite_vocoder(model)
    except (LookupError, ValueError) as failure:
        print(f"the model is used as it is, slower: {type(failure).__name__}: {failure}", file=sys.stderr)
        return model


def open_session(cache: str, parts: list[str]) -> ort.InferenceSession:
    """Open the optimized model of the cache, or optimize the model and store it there in place of earlier ones."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    stored = Path(cache)
    if cache and stored.is_file():
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return ort.InferenceSession(cache, options, providers=["CPUExecutionProvider"])
        except Exception as failure:
            print(f"the stored model is damaged and is made again: {failure}", file=sys.stderr)
            stored.unlink(missing_ok=True)
    model = read_model(parts)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    if cache:
        stored.parent.mkdir(parents=True, exist_ok=True)
        partial = stored.with_name(f"{stored.name}.{os.getpid()}.part")
        options.optimized_model_filepath = str(partial)
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        partial.replace(stored)
        for other in stored.parent.glob("*.onnx"):
            if other != stored:
                other.unlink(missing_ok=True)
        del model
        return open_session(cache, parts)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def end(failure: BaseException) -> None:
    """End the process, also from a thread, after an error of one request; the parent reads the cause."""
    # ONNX Runtime has several texts for its errors of memory.
    cause = "MemoryError" if "alloc" in str(failure).lower() else type(failure).__name__
    print(f"{cause}: {failure}", file=sys.stderr, flush=True)
    os._exit(1)


def main(threads: str, cache: str, voices_file: str, *parts: str) -> None:
    session = open_session(cache, list(parts))
    voices = np.load(voices_file)
    styles = {}
    lock = threading.Lock()
    budget = TokenBudget(MAX_TOKENS_AT_ONCE)

    def speak(request: "dict[str, Any]") -> None:
        voice, tokens = request["voice"], request["tokens"]
        with lock:
            if voice not in styles:
                styles[voice] = voices[voice].astype(np.float32)
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": styles[voice][min(len(tokens), len(styles[voice]) - 1)][None],
            "speed": np.array([request["speed"]], np.float32),
        }
        with budget.reserve(len(tokens)):
            sound, frames = session.run(None, inputs)
        sound = sound.ravel()
        peak = float(np.abs(sound).max(initial=0.0))
        if peak > PEAK:
            sound = sound * (PEAK / peak)
        pcm = np.round(sound * 32767).astype(np.int16)
        lengths = np.round(frames.ravel()).astype(int).tolist()
        header = {"id": request["id"], "samples": len(pcm), "frames": lengths}
        with lock:
            sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + pcm.tobytes())
            sys.stdout.buffer.flush()

    def attempt(request: "dict[str, Any]") -> None:
        try:
            speak(request)
        except BaseException as failure:
            end(failure)

    with ThreadPoolExecutor(int(threads)) as pool:
        for line in sys.stdin.buffer:
            pool.submit(attempt, json.loads(line))


try:
    main(*sys.argv[1:])
except Exception as error:
    end(error)
