"""Markdown: the words of a pasted script are kept, and its markup is removed."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.content.scripts.markdown import strip_markdown
from services.content.scripts.writing import write_script

DOCUMENT = """---
title: A walk
tags: [sea]
---
# A walk by the sea

We **walk** along the *shore*, ~~slowly~~ and see [the lighthouse](https://example.com/light_house "At night").
![A picture](light.png)

- First, the `gulls`
- [x] Then the __boats__
  1. a red one
  2. a blue one

***

> Nobody spoke.[^1]

| Day | Weather |
|-----|---------|
| Monday | Rain |

```python
say("hello")
```

<p align="center">The <b>end</b>.<br/>Really.</p>
<!-- remember the music -->
<script>alert(1)</script>

[^1]: They were tired.
[ref]: https://example.com/ref
See [the map][ref] \\*here\\* &amp; <https://example.com>.
"""
WORDS = [
    "A walk by the sea",
    "We walk along the shore, slowly and see the lighthouse.",
    "First, the gulls",
    "Then the boats",
    "1. a red one",
    "2. a blue one",
    "Nobody spoke.",
    "Day, Weather",
    "Monday, Rain",
    'say("hello")',
    "The end.",
    "Really.",
    "They were tired.",
    "See the map *here* & https://example.com.",
]


def test_a_document_becomes_its_spoken_text() -> None:
    assert list(write_script("", DOCUMENT).sentences) == WORDS


def test_a_plain_script_is_unchanged() -> None:
    assert write_script("", "**Look** at [this](x).", script_format="plain").sentences == ("**Look** at [this](x).",)


@pytest.mark.parametrize(
    "text",
    [
        "2 * 3 * 4", "2*3*4 = 24", "2**3**4", "a*b*c", "*", "**", "- ", "1.", "# 1 hit", "It was a\n# 1 hit\nthen.",
        "C# and F#", "#hashtag and #1", "snake_case_name", "_private and __init__.py", "me_too@some_where.com",
        "a_b_c@d.org",
        "$5_000 and 1_000", "5 > 3 and 3 < 5", "if a<b and c>d", "I <love> it <3", "it`s and he`s", "rock'n'roll",
        "[Anna]: Hello there.", "[laughs] Hello.", "f[0](x)", "array[1] = x[2]", "~5 or ~10", "*.py and *.txt",
        "+ 5 °C today",
        "- 5 °C tonight", "2024. What a year!", "1) one", "AT&T; R&D", "{\\b1}bold\\N", "C:\\new\\table", "50% | 60%",
        "a | b",
        "https://example.com/a_b_c?x=1*2*3", "¿Qué? ¡No!", "« Où ? »", "— Hello, she said.", "10 % – 20 %",
        "E = mc^2^", "~", "`",
        "^_^", ":-) ;-)", "x = [1, 2](", "Hello!world", "@user", "\\", "= = =", "a == b", "[ ] is a box", "(c) 2024",
    ],
)  # fmt: skip
def test_text_that_looks_like_markup_is_kept(text: str) -> None:
    assert strip_markdown(text).split() == text.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**太字**です、**「強調」**です。", "太字です、「強調」です。"),
        ("这是**重点（重要）**内容。", "这是重点（重要）内容。"),
        ("***Both*** of them", "Both of them"),
        ("Un*believ*able", "Unbelievable"),
        ("## Learning C# ##", "Learning C#"),
        ("Title\n=====", "Title"),
        ("# 5 ways to win\n\nFirst.", "5 ways to win First."),
        ("    indented\n    lines", "indented lines"),
        ("1. Wash the rice.\n2. Cook it.", "1. Wash the rice. 2. Cook it."),
        ("<details open><summary>More</summary>Text</details>", "MoreText"),
        ('Wait <break time="1s"/> for it', "Wait for it"),
        ("<a href='x'>here</a>", "here"),
        ("[a [nested] one](x.html)", "a [nested] one"),
        ("[![badge](b.svg)](https://x.y) Hi", "Hi"),
        ("![only](a.png) text", "text"),
        ("`a * b`", "a * b"),
        ("```\n# no heading\n```", "# no heading"),
        ("line one  \nline two\\\nline three", "line one line two line three"),
        ("\r\n# A\r\n\r\nB\r\n", "A B"),
    ],
)
def test_markup_is_removed(text: str, expected: str) -> None:
    assert strip_markdown(text).split() == expected.split()


@given(
    st.text(
        alphabet=st.characters(
            exclude_characters="*_`~[]()<>#\\&|!-+=.:{}^\t\r\n\x00", exclude_categories=["Cc", "Zl", "Zp"]
        )
    )
)
def test_a_text_without_signs_is_unchanged(text: str) -> None:
    if not text.strip()[:3].rstrip(")").isdigit():
        assert strip_markdown(text).split() == text.split()


@given(st.text(alphabet="ab1 *_`~[]()<>#\\&|!-+=.\n", max_size=80))
def test_no_letter_outside_addresses_is_lost(text: str) -> None:
    if "](" not in text and "<" not in text and "]:" not in text:
        assert [c for c in strip_markdown(text) if c in "ab1"] == [c for c in text if c in "ab1"]


@pytest.mark.parametrize(
    "piece",
    ["*", "*a ", "[", "[a](", "![", "<", "<!--", "<a b=c ", "`", "> ", "- ", "- 1\n", "|a", "|-", "&", "_a_", "~~",
     "[^", "]: ", "1. ", "\\", "**漢", "```\n", "#", "# 1\n", "<script>", "[a]: http://b\n"],
)  # fmt: skip
def test_hostile_markup_is_removed_quickly(piece: str) -> None:
    begun = time.process_time()
    strip_markdown((piece * 20_000)[:20_000])
    assert time.process_time() - begun < 4
