"""The settings from the command line: their values and layers, differences between environments, and faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.commands.errors import WrongRequest
from services.runtime.config import ENVIRONMENTS, ConfigError, Settings
from services.runtime.layers import (
    SECTIONS,
    Layers,
    build,
    check_variables,
    find_unknown_variables,
    format_value,
    read_layers,
    resolve,
    schema,
)

DEFAULTS = "defaults"

# Settings that are computed where they are needed, and have no default.
_COMPUTED: Mapping[str, Mapping[str, Any]] = {"gateway": {"addresses": {}}}


def list_settings(
    environ: Mapping[str, str], services: Sequence[str], environment: str, *, only_changed: bool
) -> Iterator[str]:
    """Yield the settings as lines of a file of settings, with the layer that each comes from.

    Raises `ConfigError` when one is wrong, and `WrongRequest` when there is no such service.
    """
    check_variables(environ)
    layers = read_layers(environ, environment=_require_environment(environment))
    yield f'environment = "{layers.environment}"'
    for section, kind in _choose(services).items():
        settings, found = _build(kind, section, layers), resolve(kind, layers, {})
        lines = [
            _format_line(name, getattr(settings, name), found[name].layer if name in found else "default")
            for name in kind.model_fields
            if name in found or not only_changed
        ]
        if lines:
            yield from ("", f"[{section}]", *lines)


def list_differences(environ: Mapping[str, str], first: str, second: str) -> list[str]:
    """Return one line for each setting that differs between two environments, or from the defaults.

    Raises `ConfigError` when a setting is wrong, and `WrongRequest` when there is no such environment.
    """
    check_variables(environ)
    one = Layers() if first == DEFAULTS else read_layers(environ, environment=_require_environment(first))
    other = read_layers(environ, environment=_require_environment(second))
    lines = []
    for section, kind in schema().items():
        found = resolve(kind, other, {})
        before = kind.model_construct() if first == DEFAULTS else _build(kind, section, one)
        after = _build(kind, section, other)
        for name in kind.model_fields:
            old, new = (format_value(getattr(settings, name, None)) for settings in (before, after))
            if old != new and not (first == DEFAULTS and name in _COMPUTED.get(section, {}) and name not in found):
                layer = found[name].layer if name in found else "default"
                lines.append(f"{section}.{name}: {old or 'not set'} -> {new or 'not set'} ({layer})")
    return lines


def list_faults(environ: Mapping[str, str], services: Sequence[str], environment: str) -> list[str]:
    """Return one line for each fault of the settings. Raises `WrongRequest` when there is no such service."""
    faults = list(find_unknown_variables(environ))
    kinds = _choose(services)
    try:
        layers = read_layers(environ, environment=_require_environment(environment))
    except ConfigError as fault:
        return [*faults, str(fault)]
    for section, kind in kinds.items():
        faults += build(kind, layers, {}, _find_computed(section, kind, layers))[1]
    return faults


def _build(kind: type[Settings], section: str, layers: Layers) -> Settings:
    """Return the settings of a service, insecure ones included. Raises `ConfigError` when they are wrong."""
    settings, faults = build(kind, layers, {}, _find_computed(section, kind, layers))
    if settings is None:
        raise ConfigError(faults[0])
    return settings


def _find_computed(section: str, kind: type[Settings], layers: Layers) -> dict[str, Any]:
    """Return values for the settings that are computed elsewhere, unless a layer sets them."""
    try:
        found = resolve(kind, layers, {})
    except ConfigError:
        return {}
    return {name: value for name, value in _COMPUTED.get(section, {}).items() if name not in found}


def _choose(services: Sequence[str]) -> dict[str, type[Settings]]:
    for service in services:
        if service not in SECTIONS:
            raise WrongRequest(f"there is no service {service}; those are {', '.join(SECTIONS)}")
    return {section: kind for section, kind in schema().items() if not services or section in services}


def _require_environment(name: str) -> str:
    if name and name not in ENVIRONMENTS:
        raise WrongRequest(f"{name} is no environment; those are {', '.join(ENVIRONMENTS)}")
    return name


def _format_line(name: str, value: Any, layer: str) -> str:
    text = format_value(value)
    return f"{name} = {text}  # {layer}" if text else f"# {name} is not set"
