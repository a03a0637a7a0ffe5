"""Script writing: the caller's own text, or a template script on the title."""

from __future__ import annotations

import pytest

from moneyprinter.errors import InvalidArgument
from services.content.scripts.sentences import split_sentences
from services.content.scripts.writing import write_script


@pytest.mark.parametrize(
    ("title", "opening"),
    [
        ("A walk in the woods", "A walk in the woods."),
        ("How do bees fly?", "How do bees fly?"),
        ("  Two\n lines ", "Two lines."),
        ("富士山。", "富士山。"),
        ("2026", "2026."),
    ],
)
def test_a_template_script_begins_with_the_title(title: str, opening: str) -> None:
    written = write_script(title, None)
    assert written.writer == "plain-template"
    assert written.sentences[0] == opening
    assert 4 <= len(written.sentences) <= 6
    assert all(split_sentences(sentence) == [sentence] for sentence in written.sentences)
    assert write_script(title, None) == written


def test_the_callers_script_is_used_word_for_word() -> None:
    written = write_script("A title", "First one.  Second\n one! {\\b1}third")
    assert written.sentences == ("First one.", "Second one!", "{\\b1}third")
    assert written.writer == "caller"


@pytest.mark.parametrize(
    ("title", "text"), [("A title", ""), ("A title", " \n "), ("A title", "?!... —"), ("!?", None), (" ", None)]
)
def test_nothing_to_speak_is_refused(title: str, text: str | None) -> None:
    with pytest.raises(InvalidArgument, match="nothing that can be spoken") as refused:
        write_script(title, text)
    assert refused.value.reason == "SCRIPT_EMPTY"
