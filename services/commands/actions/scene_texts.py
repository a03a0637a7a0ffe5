"""Scenes as a text for an editor or a file: the title of each scene in its heading, its search terms, its script."""

from __future__ import annotations

import re
from collections.abc import Sequence

from moneyprinter.video.v1 import video_service_pb2 as pb
from services.commands.errors import WrongRequest

_HEADING = re.compile(r"^## *Scene\b *(?P<number>\d*) *(?P<title>:[^\n]*)?$", re.MULTILINE | re.IGNORECASE)
_TERMS = re.compile(r"\A\s*terms *:(?P<terms>[^\n]*)(\n|\Z)", re.IGNORECASE)

_ADVICE = (
    "Lines above the first heading are ignored. A heading is `## Scene N: title on the screen`;\n"
    "below it, `terms:` lists what the pictures are searched by. Scenes may be moved, removed and\n"
    "added, an added one as `## Scene: title`. A scene keeps its clips if its number and terms stay.\n"
)


def format_scenes(scenes: Sequence[pb.Scene]) -> str:
    """Return scenes as a text: with headings, and with titles and search terms where scenes have terms."""
    if not _is_free(scenes):
        if len(scenes) == 1:
            return f"{scenes[0].script}\n"
        return "\n".join(f"## Scene {number}\n{scene.script}\n" for number, scene in enumerate(scenes, 1))
    parts = [
        f"## Scene {number}: {scene.title}".rstrip() + f"\nterms: {', '.join(scene.search_terms)}\n{scene.script}\n"
        for number, scene in enumerate(scenes, 1)
    ]
    return "\n".join([_ADVICE, *parts])


def parse_scenes(text: str, scenes: Sequence[pb.Scene]) -> list[pb.Scene]:
    """Return the scenes of an edited text. `scenes` are those from which it was made.

    A text without headings is the script of a single scene. A heading without a colon keeps the title. Other terms of a
    scene remove its clips, so that the platform chooses new ones.

    Raises `WrongRequest` when a scene has no text, or when scenes whose number is fixed have another number.
    """
    headings = list(_HEADING.finditer(text))
    if not headings and len(scenes) == 1:
        return [_edit_scene(scenes[0], text, "")]
    ends = [*(heading.start() for heading in headings[1:]), len(text)][: len(headings)]
    edited, used = [], set()
    for place, (heading, end) in enumerate(zip(headings, ends, strict=True)):
        number = int(heading["number"] or 0) if _is_free(scenes) else place + 1
        is_known = 0 < number <= len(scenes) and number not in used
        used.add(number)
        scene = scenes[number - 1] if is_known else pb.Scene()
        edited.append(_edit_scene(scene, text[heading.end() : end], heading["title"] or ""))
    if not edited or (len(edited) != len(scenes) and not _is_free(scenes)):
        headed = ", each below its heading `## Scene N`" * (len(scenes) > 1)
        raise WrongRequest(f"the script must have {len(scenes)} scenes with text{headed}")
    return edited


def _is_free(scenes: Sequence[pb.Scene]) -> bool:
    """Whether scenes may be added and removed: their pictures are searched for, and no clips of the request."""
    return any(scene.search_terms for scene in scenes)


def _edit_scene(scene: pb.Scene, text: str, title: str) -> pb.Scene:
    edited = pb.Scene()
    edited.CopyFrom(scene)
    found = _TERMS.match(text)
    if found:
        terms = [term.strip() for term in found["terms"].split(",") if term.strip()]
        if terms != list(scene.search_terms):
            edited.search_terms[:] = terms
            # The language of the terms is unknown now; they are searched for in that of the script.
            edited.search_language = ""
            del edited.cuts[:]
    edited.script = text[found.end() :].strip() if found else text.strip()
    if title:
        edited.title = title.removeprefix(":").strip()
    if not edited.script:
        raise WrongRequest("each scene must have text to speak; remove a scene with its heading")
    return edited
