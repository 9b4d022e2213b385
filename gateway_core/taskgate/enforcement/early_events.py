"""What happens before there is a session, in the process's own recording: bounded, whatever is sent.

Anybody who reaches the port can fail to log in as often as they like. In every window of `WINDOW` seconds the first
`EACH` events of a kind from one client address are recorded and logged one by one, `ALL` altogether; the others are
counted, and when the window ends one record a kind and address says how many there were. At most `ADDRESSES` addresses
are told apart; all others are counted together, under no address.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog

from taskgate.errors import JournalFault
from taskgate.metrics import Metrics
from taskgate.recording.records import Event, RecordKind
from taskgate.recording.session_recording import SessionRecording

log = structlog.get_logger(__name__)

WINDOW = 10.0
EACH = 10
ALL = 100
ADDRESSES = 64

_LONGEST = 256
_Source = tuple[str, str]  # event, client address


class EarlyEvents:
    """Not thread-safe; one event loop. `close` before the recording is closed."""

    def __init__(self, recording: SessionRecording, metrics: Metrics) -> None:
        self._recording = recording
        self._metrics = metrics
        self._seen: Counter[_Source] = Counter()
        self._recorded = 0
        self._uncounted: Counter[_Source] = Counter()
        self._end: asyncio.TimerHandle | None = None

    def note(self, name: str, *, client_address: str, **fields: str) -> None:
        """Never raises: who is turned away is turned away, whether or not that can be recorded."""
        if self._end is None:
            self._end = asyncio.get_running_loop().call_later(WINDOW, self._window_ends)
        source = name, client_address
        if self._recorded < ALL and self._seen[source] < EACH:
            self._seen[source] += 1
            self._recorded += 1
            shortened = {key: value[:_LONGEST] for key, value in fields.items()}
            self._record(name, {"client_address": client_address, **shortened})
        else:
            known = source in self._uncounted or len(self._uncounted) < ADDRESSES
            self._uncounted[source if known else (name, "")] += 1

    def close(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._window_ends()

    def _window_ends(self) -> None:
        self._end = None
        for (name, client_address), count in self._uncounted.items():
            self._record(f"{name}_more", {"client_address": client_address, "count": count, "seconds": WINDOW})
        self._uncounted.clear()
        self._seen.clear()
        self._recorded = 0

    def _record(self, name: str, fields: dict[str, object]) -> None:
        log.warning(f"gate.{name}", **fields)
        try:
            self._recording.append(RecordKind.EVENT, Event(name, fields))
        except JournalFault as fault:
            self._metrics.fault("journal")
            log.error("gate.event_not_recorded", event_name=name, reason=fault.message)  # noqa: TRY400
