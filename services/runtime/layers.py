"""Layers: where the value of a setting comes from, and the check of all of them against one schema.

The schema is the settings classes of the runtime, of every service and of the gateway. From the lowest layer to the
highest: the defaults, the defaults of the environment, the file that `MONEYPRINTER_CONFIG_FILE` names, the secret
`<service>/settings` of the config service, and the environment variables. The file is TOML with a table for each
service; the tables below the name of an environment apply there only:

    environment = "staging"
    [user]
    registration = "closed"
    [production.user]
    registration = "invitation"

An unknown or misspelt name stops the process.
"""

from __future__ import annotations

import difflib
import importlib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

from services.runtime.config import ENVIRONMENTS, PORTS, PREFIX, ConfigError, RuntimeConfig, Settings

T = TypeVar("T", bound=Settings)

FILE_VARIABLE = f"{PREFIX}CONFIG_FILE"
ENVIRONMENT_VARIABLE = f"{PREFIX}ENVIRONMENT"
# Variables that belong to no service: those of this module, of the command line, and of tests that stop a process.
OTHER_VARIABLES = frozenset(
    f"{PREFIX}{name}" for name in ("CONFIG_FILE", "ENVIRONMENT", "PLATFORM", "FAILPOINT", "API_KEY", "TOKEN")
)
SECTIONS = ("runtime", *PORTS)
MAX_FILE_BYTES = 1 << 20

# The password of a connection string, and the user of a URL.
_PASSWORD = re.compile(r"(\bpassword\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s'\"]+)", re.IGNORECASE)
_URL_USER = re.compile(r"(?<=://)[^/@\s'\"]+(?=@)")


@dataclass(frozen=True)
class Layers:
    """The layers of one process below the variables."""

    environment: str = ENVIRONMENTS[0]
    """`development`, `staging` or `production`."""
    file: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The settings of the file by service, those of the environment included."""


@dataclass(frozen=True)
class Value:
    """The value of a setting, and its layer."""

    value: Any
    layer: str
    """`default`, the name of an environment, `file`, `secret` or `variable`."""


def load(kind: type[T], *, stored: Mapping[str, Any] | None = None, given: Mapping[str, Any] | None = None) -> T:
    """Read settings from all layers.

    `stored` is the layer of the secret `<service>/settings`; `given` are values above all layers. Raises `ConfigError`
    when a name is unknown, a value is wrong, or production refuses an insecure one.
    """
    check_variables(os.environ)
    layers = read_layers(os.environ)
    settings, faults = build(kind, layers, stored or {}, given or {})
    if settings is None or faults:
        raise ConfigError(faults[0])
    return settings


def schema() -> dict[str, type[Settings]]:
    """Return the settings class of the runtime, of every service and of the gateway by name."""
    kinds: dict[str, type[Settings]] = {"runtime": RuntimeConfig}
    for service in PORTS:
        if service == "gateway":
            kinds[service] = importlib.import_module("gateway.config").Gateway
        else:
            kinds[service] = importlib.import_module(f"services.{service}.config").Config
    return kinds


def section_of(kind: type[Settings]) -> str:
    """Return the name under which a settings class is in the file: that of its service, or `runtime`."""
    return _prefix(kind).removeprefix(PREFIX).rstrip("_").lower()


def variable_of(kind: type[Settings], name: str) -> str:
    """Return the environment variable of a setting."""
    return f"{_prefix(kind)}{name}".upper()


def check_variables(environ: Iterable[str]) -> None:
    """Raise `ConfigError` when a variable with this platform's prefix is no setting."""
    for fault in find_unknown_variables(environ):
        raise ConfigError(fault)


def find_unknown_variables(environ: Iterable[str]) -> Iterator[str]:
    """Yield one line for each variable with this platform's prefix that is no setting."""
    names = sorted(name for name in environ if name.upper().startswith(PREFIX))
    if names:
        known = {variable_of(kind, name) for kind in schema().values() for name in kind.model_fields} | OTHER_VARIABLES
        for name in names:
            if name.upper() not in known:
                yield f"{name} is no setting{_nearest(name.upper(), known)}"


def read_layers(environ: Mapping[str, str], *, environment: str = "") -> Layers:
    """Read the file of settings, if a variable names one, and the name of the environment.

    `environment` takes precedence over the variable, and the variable over the file. Raises `ConfigError` when the file
    cannot be read, or a name in it is unknown.
    """
    path = environ.get(FILE_VARIABLE, "")
    content = _read_file(Path(path)) if path else {}
    own = content.pop("environment", ENVIRONMENTS[0])
    chosen = environment or environ.get(ENVIRONMENT_VARIABLE, "") or own
    if chosen not in ENVIRONMENTS:
        raise ConfigError(f"{ENVIRONMENT_VARIABLE}: {chosen!r} is no environment; those are {', '.join(ENVIRONMENTS)}")
    kinds = schema() if content else {}
    merged: dict[str, dict[str, Any]] = {}
    # The tables of an environment come after those of all environments, and the others' are only checked.
    common = {name: table for name, table in content.items() if name not in ENVIRONMENTS}
    for where, sections in (("", common), *((name, content.get(name, {})) for name in ENVIRONMENTS)):
        if not isinstance(sections, dict):
            raise ConfigError(f"{path}: [{where}] is not a table")
        for section, table in sections.items():
            place = f"{where}.{section}" if where else section
            if section not in kinds:
                raise ConfigError(f"{path}: [{place}] is no service{_nearest(section, [*SECTIONS, *ENVIRONMENTS])}")
            _check_table(f"{path}: [{place}]", table, kinds[section])
            if where in ("", chosen):
                merged.setdefault(section, {}).update(table)
    return Layers(str(chosen), merged)


def resolve(kind: type[Settings], layers: Layers, stored: Mapping[str, Any]) -> dict[str, Value]:
    """Return the value of each setting that any layer but the defaults sets. Raises `ConfigError`."""
    section = section_of(kind)
    _check_table(f"the secret {section}/settings", stored, kind)
    found: dict[str, Value] = {}
    for layer, values in (
        (layers.environment, kind.environment_defaults.get(layers.environment, {})),
        ("file", layers.file.get(section, {})),
        ("secret", stored),
        ("variable", _read_variables(kind)),
    ):
        found.update({name: Value(value, layer) for name, value in values.items()})
    return found


def build(
    kind: type[T], layers: Layers, stored: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[T | None, list[str]]:
    """Return the settings, None when they are wrong, and one line for each fault. `given` are above all layers."""
    try:
        found = resolve(kind, layers, stored)
    except ConfigError as fault:
        return None, [str(fault)]
    try:
        settings = kind(**{**{name: value.value for name, value in found.items()}, **given})
    except ValidationError as failure:
        return None, [_describe(kind, error, found) for error in failure.errors()]
    if layers.environment != "production":
        return settings, []
    return settings, [f"{variable_of(kind, name)}: production refuses {why}" for name, why in settings.find_insecure()]


def redact(text: str) -> str:
    """Return a text without the passwords of connection strings and the users of URLs."""
    return _URL_USER.sub("***", _PASSWORD.sub(r"\1***", text))


def _prefix(kind: type[Settings]) -> str:
    return str(kind.model_config.get("env_prefix") or "")


def _nearest(name: str, known: Iterable[str]) -> str:
    names = {each.removeprefix(PREFIX): each for each in known}
    close = difflib.get_close_matches(name.removeprefix(PREFIX), names, n=1, cutoff=0.7)
    return f"; did you mean {names[close[0]]}?" if close else "; `moneyprinter config show` lists all"


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as failure:
        raise ConfigError(f"{FILE_VARIABLE}: {path} cannot be read ({failure.strerror})") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{FILE_VARIABLE}: {path} is larger than {MAX_FILE_BYTES} bytes")
    try:
        return tomllib.loads(content.decode())
    except ValueError as failure:
        raise ConfigError(f"{FILE_VARIABLE}: {path} is not TOML: {failure}") from None


def _check_table(place: str, table: Any, kind: type[Settings]) -> None:
    """Raise `ConfigError` when a table names an unknown setting."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place} is not a table of settings")
    for name in table:
        if name not in kind.model_fields:
            raise ConfigError(f"{place}: {name} is no setting{_nearest(name, kind.model_fields)}")


def _read_variables(kind: type[Settings]) -> dict[str, Any]:
    try:
        return dict(EnvSettingsSource(kind)())
    except SettingsError as failure:
        quoted = re.search(r'field "(\w+)"', str(failure))
        raise ConfigError(f"{variable_of(kind, quoted[1] if quoted else '')}: its value is not JSON") from None


def _describe(kind: type[Settings], error: Any, found: Mapping[str, Value]) -> str:
    """Return one line for an error of pydantic, which names the setting, its layer and its value."""
    location = [str(part) for part in error["loc"]]
    if not location:
        return f"{_prefix(kind)}...: {error['msg']}"
    name = location[0]
    layer = found[name].layer if name in found else "default"
    place = f"{section_of(kind)}.{'.'.join(location)} of the {layer}"
    where = variable_of(kind, ".".join(location)) if layer in ("variable", "default") else place
    shown = "" if error["type"] == "missing" else f" (it is set to {redact(repr(error['input']))})"
    return f"{where}: {error['msg']}{shown}"


def format_value(value: Any) -> str:
    """Return a value of a settings class, or of the file, as TOML without passwords; empty when it is not set."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(str(_plain(key)))} = {format_value(each)}" for key, each in value.items())
        return "{ " + ", ".join(pairs) + " }" if value else "{}"
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return "[" + ", ".join(format_value(each) for each in items) + "]"
    plain = _plain(value)
    if isinstance(plain, bool | int | float):
        return json.dumps(plain)
    return json.dumps(redact(str(plain)), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Return the value of an enum, the seconds of a duration, and any other value as it is."""
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    return getattr(value, "value", value)
