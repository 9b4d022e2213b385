"""The loops that run for every byte: compiled (`_compiled.pyx`) where the compiled module is there, else their equals
in Python (`plain`), which are their documentation and types as well.

`TASKGATE_PURE_PYTHON=1` in the environment forces Python. Both are tested against each other.
"""

from __future__ import annotations

import importlib
import os

from taskgate.speed import plain
from taskgate.speed.plain import *  # noqa: F403  one list of names, in `plain`

__all__ = ["COMPILED", *plain.__all__]

COMPILED = False
if os.environ.get("TASKGATE_PURE_PYTHON") != "1":
    try:
        _compiled = importlib.import_module("taskgate.speed._compiled")
    except ImportError:
        pass
    else:
        globals().update({name: getattr(_compiled, name) for name in plain.__all__})
        COMPILED = True
