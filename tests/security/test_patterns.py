"""Regular expressions: none takes quadratic time in the length of a user's text, which would block the event loop."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
import time

import pytest

import services.audio
import services.content

LENGTH = 4000
# In linear time such a text takes a millisecond, in quadratic time a hundred.
LONGEST_SECONDS = 0.02
# Patterns that are matched only at the start of a text, or against voice names of at most 64 characters.
SAFE = {"_REFERENCE", "_FRONT_MATTER", "_LOCALE"}
SYNTAX = set("\\^$?*+|{}")


def patterns() -> dict[str, re.Pattern[str]]:
    """Return the patterns of the services that parse texts, by name."""
    found = {}
    for package in (services.audio, services.content):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("_child"):
                for name, value in vars(importlib.import_module(module.name)).items():
                    if isinstance(value, re.Pattern) and name not in SAFE:
                        found[f"{module.name}.{name}"] = value
    return found


def seconds(pattern: re.Pattern[str], text: str) -> float:
    """Return the CPU seconds for finding all matches of a pattern in a text."""
    began = time.process_time()
    for _ in pattern.finditer(text):
        pass
    return time.process_time() - began


@pytest.mark.parametrize("name", patterns())
def test_a_pattern_takes_linear_time(name: str) -> None:
    pattern = patterns()[name]
    characters = sorted(c for c in set(pattern.pattern) - SYNTAX if c.isascii() and c.isprintable())[:24]
    characters += ["a", "0", " ", "\n"]
    for unit in (*characters, *map("".join, itertools.product(characters, repeat=2))):
        text = unit * (LENGTH // len(unit))
        assert min(seconds(pattern, text) for _ in range(2)) < LONGEST_SECONDS, unit
