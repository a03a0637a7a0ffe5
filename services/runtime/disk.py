"""The disk: the error numbers of a full one.

A module of its own, because commands import it, and need nothing else of the services.
"""

from __future__ import annotations

import errno

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The error numbers of a full disk or quota."""
