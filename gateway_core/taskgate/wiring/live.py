"""Live sessions as the control API sees them: this process's list, and a signal that reaches every process."""

from __future__ import annotations

from collections.abc import Sequence

from taskgate.api.control_plane import LiveSession
from taskgate.enforcement.live import LiveSessions
from taskgate.store.signals import SignalKind, Signals


class KillableSessions:
    """Implements `api.control_plane.LiveSessions`."""

    def __init__(self, live: LiveSessions, signals: Signals) -> None:
        self._live = live
        self._signals = signals

    def list(self) -> Sequence[LiveSession]:
        return [
            LiveSession(
                id=session.id,
                principal=session.principal,
                target=session.target.name,
                protocol=session.protocol,
                client_address=session.client_address,
                opened_at=session.opened_at,
                actions=session.tally.actions,
                parked=session.parked,
            )
            for session in self._live
        ]

    async def kill(self, session_id: str, by: str, reason: str) -> None:
        await self._signals.send(SignalKind.SESSION_KILL, session_id, {"by": by, "reason": reason})
