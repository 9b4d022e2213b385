"""One write for all: what sessions have to put on record in one round of the event loop goes to the journal together.

A round's reads have all been handled when what `call_soon` was given runs, and nothing is waited for in between: with
one busy session this costs nothing, with many it saves a system call for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class Rounds:
    """Of one event loop."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []

    def join(self, step: Callable[[], None]) -> None:
        """Call `step` at the end of this round. What it raises is its own affair: others wait behind it."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        self._waiting.append(step)

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        for step in waiting:
            try:
                step()
            except Exception:
                log.exception("a session's step at the end of a round failed")
