"""Launcher child: sets the limits of a child process, then becomes its program by `exec`.

It runs isolated and without site packages, which takes about 10 ms. Its arguments are the parent's pid, the signal at
the parent's death, the user id or -1, the niceness, the limits of address space, CPU seconds, file size and open files
(0: none), and the program with its arguments.
"""

import ctypes
import os
import resource
import sys

_PR_SET_PDEATHSIG, _PR_SET_SECUREBITS, _PR_SET_THP_DISABLE, _PR_CAP_AMBIENT = 1, 28, 41, 47
_SECBIT_NO_SETUID_FIXUP = 4  # A change of user keeps the capabilities.
_PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE = 2, 1
_CAPABILITY_VERSION_3 = 0x20080522
_FIGURES = 8

libc = ctypes.CDLL(None, use_errno=True)


def set_niceness(niceness: int) -> None:
    """Lower the priority, also that of the session: desktops share cores evenly between sessions."""
    os.nice(niceness)
    try:
        with open("/proc/self/autogroup", "w") as group:
            group.write(str(niceness))
    except OSError:
        pass


def change_user(user: int) -> None:
    """Become another user, who keeps one capability of root: to open files in any folder (CAP_DAC_OVERRIDE)."""

    def must(failed: int) -> None:
        if failed:
            raise SystemExit(f"cannot change to user {user}: {os.strerror(ctypes.get_errno())}")

    must(libc.prctl(_PR_SET_SECUREBITS, ctypes.c_ulong(_SECBIT_NO_SETUID_FIXUP), 0, 0, 0))
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    only = 1 << _CAP_DAC_OVERRIDE
    must(libc.capset(header, (ctypes.c_uint32 * 6)(only, only, only, 0, 0, 0)))
    # Programs inherit ambient capabilities.
    must(libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_PR_CAP_AMBIENT_RAISE), ctypes.c_ulong(_CAP_DAC_OVERRIDE), 0, 0))


def set_limits(limits: list[int]) -> None:
    """Set the limits of address space, CPU seconds, file size and open files; 0 is no limit. Core dumps are off."""
    kinds = resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE
    for kind, limit in zip(kinds, limits):  # noqa: B905
        if limit:
            hard = resource.getrlimit(kind)[1]
            soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            # The soft limit of CPU time sends SIGXCPU; the hard one sends SIGKILL, which does not tell its cause.
            grace = 5 if kind == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else 0
            resource.setrlimit(kind, (soft, soft + grace))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Become the program."""
    parent, death_signal, user, niceness, *limits = map(int, sys.argv[1 : 1 + _FIGURES])
    command = sys.argv[1 + _FIGURES :]
    if niceness:
        set_niceness(niceness)
    # The change of user comes first, because it clears the signal at the parent's death.
    if user >= 0:
        change_user(user)
    set_limits(limits)
    # Transparent huge pages make an encoder larger, and not faster.
    libc.prctl(_PR_SET_THP_DISABLE, ctypes.c_ulong(1), 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606


main()
