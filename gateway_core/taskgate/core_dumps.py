"""Keeps what is in memory out of files and debuggers: target passwords, keys, values before they are masked.

A limit of zero alone is not enough: where the kernel hands core dumps to a program it does not apply. On Linux the
process also declares itself not dumpable, which stops both, and other processes of its user from reading its memory.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_PR_SET_DUMPABLE = 4


def forbid() -> None:
    """Raises OSError where the system does not agree. Threads share it; a program that is executed later does not."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hide()


def hide() -> None:
    """From files and other processes of this user, on Linux, and nothing more: what this process starts may still dump
    its own. Raises OSError."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
