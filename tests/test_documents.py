"""The documents: every path, file, symbol and link that they name exists."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = frozenset(
    subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
)
FOLDERS = frozenset(str(folder) for file in FILES for folder in Path(file).parents)
NAMES = frozenset(Path(file).name for file in FILES)
DOCUMENTS = sorted(
    file for file in FILES if file.endswith(".md") and ("/" not in file or file.startswith(("docs/", "examples/")))
)
# A file name without a folder; a placeholder such as `<name>_service.proto` is none.
FILE_NAME = re.compile(r"[\w-]+\.(?:py|md|proto|toml|yaml|j2|sql|json|lock)")
SYMBOL_IN_FILE = re.compile(r"`(\w+)`(?: \([^)]*\))? (?:in|of) `([\w/.-]+\.py)`")
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")


def words(document: str) -> Iterator[str]:
    """The words between back quotes, outside of code blocks."""
    text = re.sub(r"^```.*?^```", "", (ROOT / document).read_text(), flags=re.MULTILINE | re.DOTALL)
    for quoted in re.findall(r"`([^`\n]+)`", text):
        for word in quoted.split():
            yield word.lstrip("(").rstrip(".,;:)")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_exist(document: str) -> None:
    for word in words(document):
        path = word.removeprefix("./").rstrip("/")
        is_placeholder = re.search(r"[<>*{}]|NNNN", path) is not None
        if "/" in path and path.partition("/")[0] in FOLDERS - {"."} and not is_placeholder:
            assert path in FILES | FOLDERS, f"{document} names {word}"
        elif FILE_NAME.fullmatch(path):
            assert path in NAMES, f"{document} names {word}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files(document: str) -> None:
    for target in LINK.findall((ROOT / document).read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (ROOT / document).parent.joinpath(target).exists(), f"{document} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_symbols_stand_in_the_named_files(document: str) -> None:
    for symbol, file in SYMBOL_IN_FILE.findall((ROOT / document).read_text()):
        if file in FILES:
            assert symbol in defined(ROOT / file), f"{document} names {symbol} in {file}"


def defined(module: Path) -> set[str]:
    """The names of the classes, functions, constants and fields that a module defines."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def test_there_are_ten_questions_with_paths() -> None:
    rows = re.findall(r"^\| [^|]+\? \| (.+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    assert len(rows) >= 10
    assert all(re.search(r"`[\w/.-]+/[\w./-]+`", row) for row in rows)


def test_owned_folders_exist() -> None:
    patterns = re.findall(r"^/(\S+)", (ROOT / "CODEOWNERS").read_text(), flags=re.MULTILINE)
    assert patterns
    assert [pattern for pattern in patterns if pattern.rstrip("/") not in FILES | FOLDERS] == []
