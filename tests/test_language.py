"""Language: comments, docstrings and names of the code and the contracts are free of words that this project avoids."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Programs report, record, return, publish and notify; sentences name the actor: client, caller, orchestrator, worker.
AVOIDED = re.compile(
    r"\b(?:is|are|was|were|be|been|being) told\b|\b(?:tells of|wants?|asks? again|gives? up on)\b"
    r"|(?<!`)\b(?:whoever|somebody|anybody|nobody|said|says)\b(?!`)",
    re.IGNORECASE,
)
AVOIDED_NAMES = re.compile(r"(?:.*_)?(?:told|said|whoever)(?:_.*)?|_again|_kept|_away", re.IGNORECASE)
COMMENT = re.compile(r"^\s*(?://|#|--)(?!!)(.*)")
SUFFIXES = {".py", ".proto", ".lua", ".j2", ""}


def files() -> Iterator[Path]:
    for folder in ("services", "gateway", "proto/moneyprinter", "scripts", "examples", "tests"):
        for path in sorted((ROOT / folder).rglob("*")):
            is_generated = "_pb2" in path.name or "__pycache__" in path.parts or path.suffix not in SUFFIXES
            if path.is_file() and not is_generated:
                yield path


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(text: str, *, is_python: bool) -> Iterator[tuple[int, str]]:
    """The comments and docstrings of a file, with their lines."""
    if not is_python:
        for number, line in enumerate(text.splitlines(), 1):
            if found := COMMENT.match(line):
                yield number, found[1]
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        # Attributes have docstrings, too: expressions that are only a string.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for offset, line in enumerate(node.value.value.splitlines()):
                yield node.lineno + offset, line


def names(text: str) -> Iterator[tuple[int, str]]:
    """The names of functions, parameters and variables of a Python file, with their lines."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id


@pytest.mark.parametrize("path", list(files()), ids=name_of)
def test_the_language_is_plain(path: Path) -> None:
    text = path.read_text()
    is_python = path.suffix == ".py" or text.startswith("#!/usr/bin/env python3")
    avoided = [
        (number, found[0]) for number, line in prose(text, is_python=is_python) if (found := AVOIDED.search(line))
    ]
    if is_python:
        avoided += [(number, name) for number, name in names(text) if AVOIDED_NAMES.fullmatch(name)]
    assert avoided == []
