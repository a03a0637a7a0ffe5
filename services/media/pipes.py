"""Pipes: their size, for raw frames on their way between processes."""

from __future__ import annotations

import fcntl
from contextlib import suppress

# The largest pipe that an unprivileged user may have (`fs.pipe-max-size`): most chunks of frames pass in one write.
# Over mTLS on loopback, chunks of this size took 4 % less time than chunks of a quarter of it, while x264 used the
# cores (`scripts/bench engine --parts stream`).
PIPE_BYTES = 1 << 20


def enlarge_pipe(descriptor: int) -> None:
    """Set the capacity of a pipe to `PIPE_BYTES`, where the system allows it.

    Linux refuses where the user has many pipes already (`fs.pipe-user-pages-soft`). A smaller pipe is only slower.
    """
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
