"""Ranking by meaning: the tokens and vectors of the model, and the order that similarity gives.

The tests of the real model run where its package is installed; a small model with random weights stands for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from services.content.footage.clips import FootageClip, Shape
from services.content.footage.embedding import MAX_TOKENS, Embedder, read_weights
from services.content.footage.models import VOCABULARY, WEIGHTS, find_model
from services.content.footage.ranking import rank_by_meaning, rank_by_words
from services.content.footage.word_pieces import WordPieces

VOCABULARY_WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "sea",
    "wave",
    "##s",
    "un",
    "##aff",
    "##able",
    "cafe",
    ",",
    "海",
]
WIDTH = 24


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("sea waves", "[CLS] sea wave ##s [SEP]"),
        ("Sea,WAVES\n", "[CLS] sea , wave ##s [SEP]"),
        ("unaffable Café", "[CLS] un ##aff ##able cafe [SEP]"),
        ("xyz 海海", "[CLS] [UNK] 海 海 [SEP]"),
        ("", "[CLS] [SEP]"),
        ("s" * 200, "[CLS] [UNK] [SEP]"),
    ],
)
def test_a_text_is_split_into_word_pieces(text: str, tokens: str) -> None:
    numbers = WordPieces(VOCABULARY_WORDS).split(text, 20)
    assert [VOCABULARY_WORDS[number] for number in numbers] == tokens.split()


def test_a_long_text_is_cut() -> None:
    numbers = WordPieces(VOCABULARY_WORDS).split("sea " * 1000, 10)
    assert len(numbers) == 10
    assert VOCABULARY_WORDS[numbers[-1]] == "[SEP]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of the same shape, with narrow layers and random weights."""
    random = np.random.default_rng(1)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY_WORDS), WIDTH),
        "embeddings.position_embeddings.weight": (MAX_TOKENS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
    }
    norms = ["embeddings"]
    for layer in (f"encoder.layer.{number}" for number in range(6)):
        parts: dict[str, tuple[int, ...]] = {
            f"attention.self.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")
        }
        parts |= {"attention.output.dense": (WIDTH, WIDTH)}
        parts |= {"intermediate.dense": (2 * WIDTH, WIDTH), "output.dense": (WIDTH, 2 * WIDTH)}
        for name, shape in parts.items():
            shapes |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
        norms += [f"{layer}.attention.output", f"{layer}.output"]
    for name in norms:
        shapes |= {f"{name}.LayerNorm.weight": (WIDTH,), f"{name}.LayerNorm.bias": (WIDTH,)}
    header, data = {}, b""
    for name, shape in shapes.items():
        values = random.normal(0.1, 0.5, shape).astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (tmp_path / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + data)
    (tmp_path / VOCABULARY).write_text("\n".join(VOCABULARY_WORDS), encoding="utf-8")
    return tmp_path


def test_a_vector_depends_only_on_its_text(folder: Path) -> None:
    """Neither the other texts of a call nor their padding change it, and it is kept."""
    texts = ["sea", "sea waves, unaffable cafe", "waves"]
    together = Embedder(folder).embed(texts)
    alone = [Embedder(folder).embed([text])[0] for text in texts]
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), 1)
    embedder = Embedder(folder)
    assert np.array_equal(embedder.embed(texts * 2)[3:], embedder.embed(texts))
    assert embedder.compare("sea", ["sea", "waves"])[0] == pytest.approx(1)


def test_weights_of_another_precision_are_refused(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    (tmp_path / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(ValueError, match="a has F16"):
        read_weights(tmp_path / WEIGHTS)


async def test_clips_are_ordered_by_meaning() -> None:
    similar = {"surf on the shore": 0.6, "businessman in office": 0.1}

    def compare(text: str, others: Sequence[str]) -> list[float]:
        return [similar.get(other, 0.0) for other in others]

    clips = [
        FootageClip(f"shelf:{number}", description, "https://x", width=1080, height=1920, seconds=9)
        for number, description in enumerate(["businessman in office", "", "surf on the shore"])
    ]
    shape = Shape(1080, 1920)
    ranked = await rank_by_meaning(compare)(clips, "sea waves", "Waves roll in.", shape)
    assert [clip.key for _, clip in ranked] == ["shelf:2", "shelf:1", "shelf:0"]
    by_words = await rank_by_words(clips, "sea waves", "Waves roll in.", shape)
    assert [clip.key for _, clip in by_words] == ["shelf:0", "shelf:1", "shelf:2"]


@pytest.mark.skipif(find_model() is None, reason="the package of the model is not installed")
def test_the_real_model_has_the_published_similarities() -> None:
    folder = find_model()
    assert folder is not None
    embedder = Embedder(folder)
    found = embedder.compare("The weather is lovely today.", ["It's so sunny outside!", "He drove to the stadium."])
    assert found == pytest.approx([0.6660, 0.1046], abs=1e-3)
    close, far = embedder.compare("sea waves", ["ocean surf breaking on the shore", "businessman in office"])
    assert close > far + 0.3
