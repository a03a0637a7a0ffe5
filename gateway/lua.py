"""Lua: values of ours as Lua writes them, for the scripts that run in Envoy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def literal(value: object) -> str:
    """A value as a Lua literal: mappings and sequences become tables. Raises TypeError for what Lua has no form of."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return '"' + "".join(_character(byte) for byte in value.encode()) + '"'
        case Mapping():
            return "{" + ", ".join(f"[{literal(key)}] = {literal(item)}" for key, item in value.items()) + "}"
        case Sequence():
            return "{" + ", ".join(map(literal, value)) + "}"
    raise TypeError(f"{type(value).__name__} has no literal in Lua")


def constants(values: Mapping[str, object]) -> str:
    """Lua statements that define constants, one a line."""
    return "".join(f"local {name} = {literal(value)}\n" for name, value in values.items())


def _character(byte: int) -> str:
    """A byte of a string. Decimal escapes have three digits, so that a digit may follow them."""
    character = chr(byte)
    return character if character.isascii() and character.isprintable() and character not in '"\\' else f"\\{byte:03}"
