"""Children end when they are stopped, whatever they are doing."""

from __future__ import annotations

import sys

import psutil
import pytest

from services.runtime import children


@pytest.mark.parametrize("output", [1, 2])
async def test_a_child_that_floods_its_output_is_killed_at_its_time_limit(output: int) -> None:
    flood = (sys.executable, "-I", "-S", "-c", f"import os\nwhile True: os.write({output}, bytes(65536))")
    with pytest.raises(children.ChildFailed, match=r"0\.5 s"):
        async with children.start(flood, limits=children.Limits(wall_seconds=0.5)) as child:
            pid = child.process.pid
            await child.process.wait()
    assert not psutil.pid_exists(pid)


async def test_the_last_stderr_lines_of_a_child_are_in_its_error() -> None:
    complaint = "import sys\nfor n in range(100): print('word', n, file=sys.stderr)\nsys.exit(3)"
    with pytest.raises(children.ChildFailed) as failed:
        await children.run((sys.executable, "-I", "-S", "-c", complaint))
    assert failed.value.code == 3
    assert failed.value.stderr.splitlines()[-1] == "word 99"
    assert len(failed.value.stderr.splitlines()) == children.STDERR_LINES
