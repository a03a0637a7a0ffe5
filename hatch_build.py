"""Build hook of the services' wheel: adds the contracts between services, which are no part of the clients' wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class InternalContracts(BuildHookInterface[Any]):
    """Adds the files that `proto/pyproject.toml` excludes from the wheel `moneyprinter`.

    Both wheels install into the package `moneyprinter`, each its own files. A checkout has all of them in `proto/`.
    """

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files to a wheel; an editable install (`version` is "editable") needs none."""
        if version == "editable":
            return
        proto = Path(self.root, "proto")
        project = tomllib.loads((proto / "pyproject.toml").read_text())
        for pattern in project["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]:
            for found in proto.glob(pattern):
                for path in [found] if found.is_file() else found.rglob("*"):
                    if path.is_file() and "__pycache__" not in path.parts:
                        build_data["force_include"][str(path)] = path.relative_to(proto).as_posix()
