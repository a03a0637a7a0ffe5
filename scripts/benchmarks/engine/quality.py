"""Compares a video with a lossless render of the same sources."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from scripts.benchmarks.engine import commands, plan

# Compare one of this many frames.
STEP = 10


def compare(task: plan.Task, video: Path, program: Path, ass: Path | None, fonts: Path) -> tuple[float, float]:
    """Return SSIM (0 to 1) and VMAF (0 to 100) over every `STEP`-th frame."""
    shown = plan.shots(task)
    drawn = commands.graph(task, shown, ass, fonts, first=1)
    thinned = f"select='not(mod(n,{STEP}))',setpts=N/{plan.RATE}/TB"
    filters = (
        f"{drawn};[0:v]{thinned},split[a][b];[whole]{thinned},split[c][d];"
        "[a][c]ssim,nullsink;[b][d]libvmaf=n_threads=2[out]"
    )
    command = (program, "-hide_banner", "-nostdin", "-i", video, *commands.inputs(shown), "-filter_complex", filters)
    command = (*command, "-map", "[out]", "-f", "null", "-")
    report = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stderr
    ssim, vmaf = re.search(r"SSIM .*All:([\d.]+)", report), re.search(r"VMAF score: ([\d.]+)", report)
    assert ssim and vmaf, report[-500:]
    return float(ssim[1]), float(vmaf[1])
