"""What one connector holds open, apart for each run attempt in this process."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from taskgate_prefect import compat, credentials
from taskgate_prefect.approvals import progress
from taskgate_prefect.run_attempt import RunAttempt, attempt_of

Held = TypeVar("Held")


class ByAttempt(Generic[Held]):
    """Of each run attempt one `Held`, made when first asked for. Copies and pickles of it are empty: connections
    belong to a process. An attempt that ends without closing its connector is cleaned up by `abandon`, once nothing
    of its run is left in memory."""

    def __init__(self, abandon: Callable[[RunAttempt, Held], None]) -> None:
        self._abandon = abandon
        self._lock = threading.RLock()
        self._held: dict[RunAttempt, Held] = {}

    def of(self, running: compat.RunningFlow, make: Callable[[], Held]) -> Held:
        attempt = attempt_of(running)
        with self._lock:
            held = self._held.get(attempt)
            if held is None:
                held = self._held[attempt] = make()
                weakref.finalize(running.lives, _ended, weakref.ref(self), attempt).atexit = False
            return held

    def known(self, attempt: RunAttempt) -> Held | None:
        with self._lock:
            return self._held.get(attempt)

    def known_within(self, attempt: RunAttempt) -> list[Held]:
        """The attempt's own, and of a flow's body those of its tasks."""
        with self._lock:
            return [held for one, held in dict(self._held).items() if attempt.includes(one)]

    def take(self, attempt: RunAttempt) -> list[tuple[RunAttempt, Held]]:
        """As `known_within`, which are then no longer known."""
        with self._lock:
            taken = [one for one in dict(self._held) if attempt.includes(one)]
            return [(one, self._held.pop(one)) for one in taken]

    def end(self, attempt: RunAttempt) -> None:
        with self._lock:
            held = self._held.pop(attempt, None)
        if held is not None:
            self._abandon(attempt, held)

    def __copy__(self) -> ByAttempt[Held]:
        return ByAttempt(self._abandon)

    def __deepcopy__(self, _memo: Any) -> ByAttempt[Held]:
        return ByAttempt(self._abandon)

    def __reduce__(self) -> tuple[Any, ...]:
        return ByAttempt, (self._abandon,)


def _ended(of: weakref.ref[ByAttempt[Any]], attempt: RunAttempt) -> None:
    """May run wherever Python collects garbage."""
    if (holder := of()) is not None:
        holder.end(attempt)
    credentials.in_this_process.forget(attempt)
    progress.in_this_process.ended(attempt)
