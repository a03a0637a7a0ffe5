"""The rewritten vocoder of the neural voice: its sound is that of the published model."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from services.audio.kokoro.onnx_graph import Graph
from services.audio.kokoro.synthesizer import VOICES_FILE
from services.audio.kokoro.vocoder import rewrite_vocoder
from tests.audio.kokoro import MODEL, requires_model

pytestmark = requires_model

# "Fish swim." in phonemes.
TOKENS = "fˈɪʃ swˈɪm."
FRAME = 1024


@pytest.fixture(scope="module")
def published() -> bytes:
    return b"".join(path.read_bytes() for path in MODEL)


def speak(model: bytes) -> NDArray[np.float32]:
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session: Any = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    vocabulary = json.loads((VOICES_FILE.parent / "vocabulary.json").read_text(encoding="utf-8"))
    tokens = [0, *(vocabulary[token] for token in TOKENS), 0]
    with np.load(VOICES_FILE) as styles:
        style = styles["af_heart"].astype(np.float32)[len(tokens) - 2][None]
    inputs = {"tokens": np.array([tokens], np.int64), "style": style, "speed": np.ones(1, np.float32)}
    return np.asarray(session.run(None, inputs)[0]).ravel()


def spectrum(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    """The power of each band and moment in dB, at least 60 dB below full scale."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, FRAME)[:: FRAME // 4] * np.hanning(FRAME)
    return np.asarray(10 * np.log10(np.abs(np.fft.rfft(windows)) ** 2 + 1e-4))


def test_the_sound_is_as_long_and_its_spectrum_is_near(published: bytes) -> None:
    before, after = speak(published), speak(rewrite_vocoder(published))
    assert len(before) == len(after)
    distance = np.sqrt(np.mean((spectrum(before) - spectrum(after)) ** 2, axis=1)).mean()
    # Between the published model and one whose vocoder has 32 bits: 3.0 to 3.4 dB.
    assert distance < 4.5
    assert np.sum((before - after) ** 2) < 0.05 * np.sum(before**2)


def test_the_rewritten_model_has_no_convolutions_in_its_blocks(published: bytes) -> None:
    graph = Graph(rewrite_vocoder(published))
    with pytest.raises(KeyError):
        graph.node("/decoder/decoder/generator/resblocks.3/convs1.0/Conv_quant")
    assert graph.node("/decoder/decoder/decode.0/conv1/Conv_quant").op_type == "ConvInteger"


def test_another_model_is_refused() -> None:
    with pytest.raises(LookupError):
        rewrite_vocoder(b"")
