"""The gateway's memory holds targets' passwords, issued secrets and rows before they are masked: none of it may end up
in a core file, or be read through the debugger's interface by another process of the same user."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def keep_memory_private() -> None:
    """For this process and those it starts: no core files; on Linux, of this process, no ptrace and no /proc/<pid>/mem
    for anybody but root either. Where the system refuses, nothing is worse than before."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
