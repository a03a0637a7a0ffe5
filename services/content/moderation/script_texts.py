"""Script texts: what is checked of a request for a script, and of a script that was written."""

from __future__ import annotations

from services.content.moderation.moderation import FieldText
from services.content.scripts.writing import CALLER, PLAIN_TEMPLATE, Script, WritingOptions


def request_texts(options: WritingOptions, **texts: str) -> list[FieldText]:
    """Return the texts of a request: `texts` by their fields, and those of the options."""
    fields = {**texts, "prompt": options.prompt, "tone": options.tone, "audience": options.audience}
    return [FieldText(field, text) for field, text in fields.items() if text]


def script_texts(script: Script) -> list[FieldText]:
    """Return the texts of a generated script. One of the caller, or of a template, has only texts of the request."""
    if script.writer in (CALLER, PLAIN_TEMPLATE):
        return []
    texts = [FieldText("script", " ".join(script.sentences))]
    for index, scene in enumerate(script.scenes):
        texts.append(FieldText(f"scenes[{index}].search_terms", ", ".join(scene.search_terms)))
        texts.append(FieldText(f"scenes[{index}].title", scene.title))
    return texts
