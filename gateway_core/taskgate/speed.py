"""The loops that run for every byte: compiled where the compiled module is there, else their equals in Python.

`TASKGATE_PURE_PYTHON=1` in the environment forces Python. Both are tested against each other.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskgate._speed_py import complete_messages, message_runs

    COMPILED: bool
elif os.environ.get("TASKGATE_PURE_PYTHON") == "1":
    from taskgate._speed_py import complete_messages, message_runs

    COMPILED = False
else:
    try:
        from taskgate._speed import complete_messages, message_runs

        COMPILED = True
    except ImportError:
        from taskgate._speed_py import complete_messages, message_runs

        COMPILED = False

__all__ = ["COMPILED", "complete_messages", "message_runs"]
