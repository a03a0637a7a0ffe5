"""Fault injection: kills child processes at their start or in the middle of their work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

import pytest

from services.runtime import children


@dataclass(frozen=True)
class Killer:
    """Counts the children that match the pattern of `kill_children`."""

    runs: Path

    @property
    def count(self) -> int:
        """The number of matching children started so far."""
        return len(self.runs.read_text()) if self.runs.exists() else 0


def kill_children(
    monkeypatch: pytest.MonkeyPatch, folder: Path, pattern: str, times: int, cpu_seconds: float
) -> Killer:
    """Kill the first `times` children whose command line holds `pattern`.

    With `cpu_seconds` 0, SIGKILL ends a child at once; otherwise SIGPROF does so after that much time on the CPU, since
    a timer stays set across `exec`.
    """
    runs = folder / "runs"
    aim = (
        f"if {pattern!r} in ' '.join(sys.argv[9:]):\n"
        f"    with open({str(runs)!r}, 'a') as runs:\n"
        f"        runs.write('x')\n"
        f"    if os.path.getsize({str(runs)!r}) <= {times}:\n"
        f"        import signal\n"
        f"        if {cpu_seconds} == 0:\n"
        f"            os.kill(os.getpid(), signal.SIGKILL)\n"
        f"        signal.setitimer(signal.ITIMER_PROF, {cpu_seconds})\n"
    )
    patch_launcher(monkeypatch, folder, aim)
    monkeypatch.setattr(children, "PAUSES_SECONDS", (0.0, 0.0))
    return Killer(runs)


def patch_launcher(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """Run `code` in every child right before it becomes its program."""
    launcher = folder / "launcher_child.py"
    call = "    os.execvp("
    launcher.write_text(children._LAUNCHER.read_text().replace(call, indent(code, "    ") + call))
    monkeypatch.setattr(children, "_LAUNCHER", launcher)
