"""The sessions this process has open: found by id or credential, capped by target, ended from outside."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from taskgate.errors import TooManySessions

if TYPE_CHECKING:
    from taskgate.domain import Target
    from taskgate.enforcement.session import Session


class LiveSessions:
    """Not thread-safe; one event loop."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._by_target: Counter[str] = Counter()
        self._none_left = asyncio.Event()
        self._none_left.set()

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._sessions.values()))

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session_id: str) -> Session | None:
        return self._sessions.get(session_id)

    def reserve(self, target: Target) -> None:
        """Take a place under the target's cap before anything else is done for it. Raises TooManySessions."""
        if self._by_target[target.name] >= target.max_sessions:
            raise TooManySessions(
                f"taskgate: too many sessions on target {target.name}",
                detail=f"limit={target.max_sessions}",
                hint="Close idle connections, or raise the target's max_sessions.",
            )
        self._by_target[target.name] += 1

    def release(self, target: Target) -> None:
        """Give a reserved place back."""
        self._by_target[target.name] -= 1

    def add(self, session: Session) -> None:
        self._sessions[session.id] = session
        self._none_left.clear()

    def remove(self, session: Session) -> None:
        if self._sessions.pop(session.id, None) is not None:
            self.release(session.target)
        if not self._sessions:
            self._none_left.set()

    async def none_left(self, patience: float) -> bool:
        """Wait until the last session is gone, `patience` seconds at most; whether it is."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._none_left.wait(), patience)
        return not self._sessions

    def end(self, reason: str, where: Callable[[Session], bool]) -> int:
        """Ask every session for which `where` holds to end now; returns how many."""
        chosen = [session for session in self if where(session)]
        for session in chosen:
            session.end(reason)
        return len(chosen)
