"""Fonts: the tables of a font file that decide whether libass draws it, and under which names libass finds it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import uharfbuzz as hb

BOLD_WEIGHT = 700.0
# Below this, a default weight is not bold.
_LEAST_BOLD_WEIGHT = 600.0

_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
_OUTLINES = {"glyf", "CFF ", "CFF2"}
_COLOURED = {"COLR", "CBDT", "sbix", "SVG "}
_REQUIRED = ("head", "hhea", "hmtx", "maxp", "cmap", "name")


def list_font_files(folder: Path) -> Iterator[Path]:
    """Yields the font files in a folder and those below it, sorted by their paths."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(_SUFFIXES):
                yield Path(place, name)


def has_outlines(face: hb.Face) -> bool:
    """Whether a face has outlines and no coloured glyphs: libass draws no others."""
    tags = set(face.table_tags)
    return bool(tags & _OUTLINES) and not tags & _COLOURED


def missing_tables(face: hb.Face) -> list[str]:
    """Returns the tables that libass needs of a face with outlines, and that are missing or cut off."""
    needed = (*_REQUIRED, *(set(face.table_tags) & _OUTLINES))
    return [tag for tag in needed if not len(face.reference_table(tag))]


def lookup_name(face: hb.Face) -> str:
    """Returns the name by which libass finds a face: the full name with TrueType outlines, else the PostScript name.

    A face without that name has the name of its family.
    """
    kinds = hb.OTNameIdPredefined
    kind = kinds.FULL_NAME if "glyf" in face.table_tags else kinds.POSTSCRIPT_NAME
    return english_name(face, kind) or english_name(face, kinds.FONT_FAMILY)


def english_name(face: hb.Face, kind: int) -> str:
    """Returns an English name of a face, by its number in the table `name`; empty where there is none."""
    return face.get_name(kind, "en") or ""


def bold_weight(face: hb.Face) -> float:
    """Returns the bold weight of a face that is variable in weight and not bold by default; 0 for other faces.

    libass draws a variable font in its default weight only. So the bold weight is offered as a font of its own: the
    content service measures it, and the processing service writes its file.
    """
    for axis in face.axis_infos or ():
        if axis.tag == "wght" and axis.default_value < _LEAST_BOLD_WEIGHT <= axis.max_value:
            return float(min(axis.max_value, BOLD_WEIGHT))
    return 0.0


def bold_name(face: hb.Face) -> str:
    """Returns the name of the bold weight of a face, `<family> Bold`; empty where it has none, or is an italic."""
    kinds = hb.OTNameIdPredefined
    family = english_name(face, kinds.TYPOGRAPHIC_FAMILY) or english_name(face, kinds.FONT_FAMILY)
    italic = "italic" in english_name(face, kinds.FULL_NAME).lower()
    return f"{family} Bold" if family and not italic and bold_weight(face) else ""
