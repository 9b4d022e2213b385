"""A gateway that hangs is not asked again at once: whoever asks next would wait as long, and hold a thread for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_LONG = 1.0
_SILENT_FOR = 3.0


class GatewaySilence:
    """One a process. A gateway that says at once that it is away or broken is not silent: asking it costs nothing."""

    def __init__(self) -> None:
        self._until = float("-inf")

    def __bool__(self) -> bool:
        """Whether it has been waited for in vain a moment ago."""
        return time.monotonic() < self._until

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Ask it within."""
        from taskgate.client import ServiceFault

        asked = time.monotonic()
        try:
            yield
        except ServiceFault:
            now = time.monotonic()
            if now - asked >= _LONG:
                self._until = now + _SILENT_FOR
            raise
