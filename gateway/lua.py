"""Writes Python values as Lua source, for the scripts that run in Envoy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def to_literal(value: object) -> str:
    """Return a value as a Lua literal; mappings and sequences become tables. Raises `TypeError` for other types."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return '"' + "".join(_escape(byte) for byte in value.encode()) + '"'
        case Mapping():
            return "{" + ", ".join(f"[{to_literal(key)}] = {to_literal(item)}" for key, item in value.items()) + "}"
        case Sequence():
            return "{" + ", ".join(map(to_literal, value)) + "}"
    raise TypeError(f"{type(value).__name__} has no Lua literal")


def define_constants(values: Mapping[str, object]) -> str:
    """Return Lua statements that define constants, one per line."""
    return "".join(f"local {name} = {to_literal(value)}\n" for name, value in values.items())


def _escape(byte: int) -> str:
    """Return a byte of a string, escaped where needed; three decimal digits, since a digit may follow."""
    character = chr(byte)
    return character if character.isascii() and character.isprintable() and character not in '"\\' else f"\\{byte:03}"
