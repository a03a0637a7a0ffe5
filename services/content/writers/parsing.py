"""Parsing: the JSON document in the text of a language model, which may put it between other text."""

from __future__ import annotations

import json
from typing import Any

MAX_CHARACTERS = 400_000
# Beginnings that are tried: a text may have braces before its document.
_MAX_STARTS = 50


def extract_document(text: str) -> Any:
    """Return the first JSON object in a text, also one in a code block or between sentences; None without any."""
    text = text[:MAX_CHARACTERS]
    decoder = json.JSONDecoder()
    start = text.find("{")
    for _ in range(_MAX_STARTS):
        if start < 0:
            return None
        try:
            document, _end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict) and document:
            return document
        start = text.find("{", start + 1)
    return None
