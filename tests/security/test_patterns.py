"""Regular expressions: none takes a time that grows with the square of a user's text, in which nothing else runs."""

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
# A text of that length takes a millisecond; the square of it takes a hundred.
LONGEST_SECONDS = 0.02
# What is matched from its beginning only, or against the name of a voice, which has at most 64 characters.
FROM_THE_BEGINNING = {"_REFERENCE", "_FRONT_MATTER", "_GOOGLE", "_AZURE", "_LOCALE"}
SYNTAX = set("\\^$?*+|{}")


def patterns() -> dict[str, re.Pattern[str]]:
    """The patterns of the services that read texts, by their names."""
    found = {}
    for package in (services.audio, services.content):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("_child"):
                for name, value in vars(importlib.import_module(module.name)).items():
                    if isinstance(value, re.Pattern) and name not in FROM_THE_BEGINNING:
                        found[f"{module.name}.{name}"] = value
    return found


def seconds(pattern: re.Pattern[str], text: str) -> float:
    """What it takes to find all that a pattern matches in a text."""
    began = time.process_time()
    for _ in pattern.finditer(text):
        pass
    return time.process_time() - began


@pytest.mark.parametrize("name", patterns())
def test_a_pattern_takes_a_time_that_grows_with_the_text(name: str) -> None:
    pattern = patterns()[name]
    characters = sorted(c for c in set(pattern.pattern) - SYNTAX if c.isascii() and c.isprintable())[:24]
    characters += ["a", "0", " ", "\n"]
    for unit in (*characters, *map("".join, itertools.product(characters, repeat=2))):
        text = unit * (LENGTH // len(unit))
        assert min(seconds(pattern, text) for _ in range(2)) < LONGEST_SECONDS, unit
