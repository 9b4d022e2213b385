"""Control signals: what every gateway process on a store must hear of at once (revoke, kill, decisions, reloads).

A signal is a row with a sequence number. Each process polls for rows above the last it saw, every 250 ms, and at once
after it sent one itself. Numbers become visible in their order (see `tables.signal_counter`), so none is ever skipped.
Delivery is at least once a process from the moment `run` starts; a callback must bear a repetition.

A store that was set back (a backup brought in, a failover to a replica that lagged behind) has forgotten what was
revoked and decided, and gives its numbers out again: that is told to whoever asked with `when_set_back`.

`last_contact` tells how long the store has been out of reach: a gateway that has not heard for 5 s cannot know what has
been revoked, and ends its live sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.errors import StoreFault
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.tables import signal_counter, signals

log = structlog.get_logger(__name__)

_BATCH = 1000
_PRUNE_EVERY = 600.0


class SignalKind(StrEnum):
    CREDENTIAL_REVOKED = "credential.revoked"  # subject: the credential's id
    CREDENTIAL_CONFINED = "credential.confined"  # subject: the credential's id; payload: until (ISO 8601)
    API_KEY_REVOKED = "api_key.revoked"  # subject: the key's id
    SESSION_KILL = "session.kill"  # subject: the session's id; payload: by, reason
    APPROVAL_REQUESTED = "approval.requested"  # subject: the approval's id
    APPROVAL_DECIDED = "approval.decided"  # subject: the approval's id; payload: state. Any end, not only a human's
    CANCEL_REQUESTED = "cancel.requested"  # subject: the keyed name of a cancel key (enforcement/cancel_routing.py)
    POLICY_RELOADED = "policy.reloaded"  # subject: the policy's version


@dataclass(frozen=True, slots=True)
class Signal:
    sequence: int
    kind: str
    subject: str
    payload: Mapping[str, Any]
    sent_at: datetime


Callback = Callable[[Signal], None]


class Signals:
    """One a process. `interval` and `keep` in seconds."""

    def __init__(self, database: Database, *, interval: float = 0.25, keep: float = 3600.0) -> None:
        self._database = database
        self._interval = interval
        self._keep = keep
        self._callbacks: defaultdict[str, list[Callback]] = defaultdict(list)
        self._wake = asyncio.Event()
        self._started = asyncio.Event()
        self._catching_up: list[asyncio.Future[None]] = []
        self._set_back: list[Callable[[], None]] = []
        self._seen = 0
        self._seen_at: datetime | None = None  # when the last one was sent: tells it from another of the same number
        self._pruned = 0.0
        self.last_contact = float("-inf")

    @property
    def in_contact(self) -> bool:
        """Whether the store answered within the last four polls (at least one second): else nothing new is let in."""
        return time.monotonic() - self.last_contact <= max(1.0, 4 * self._interval)

    @property
    def seen(self) -> int:
        """The last signal that this process has heard; from `started` on."""
        return self._seen

    def subscribe(self, kind: str, callback: Callback) -> Callable[[], None]:
        """`callback` is called in the event loop, must not block, and hears `kind`. Returns how to unsubscribe."""
        self._callbacks[kind].append(callback)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._callbacks[kind].remove(callback)

        return unsubscribe

    def when_set_back(self, callback: Callable[[], None]) -> None:
        """`callback` is called in the event loop where the store is found at an earlier state than it was."""
        self._set_back.append(callback)

    async def send(self, kind: str, subject: str, payload: Mapping[str, Any] | None = None) -> None:
        """Committed when this returns. Raises StoreFault."""
        async with self._database.transaction() as connection:
            await self.append(connection, kind, subject, payload)
        self.wake()

    async def append(
        self, connection: AsyncConnection, kind: str, subject: str, payload: Mapping[str, Any] | None = None
    ) -> None:
        """As part of the caller's transaction, as its last statement (senders queue until it commits); then `wake`."""
        counter = update(signal_counter).where(signal_counter.c.id == 1).values(value=signal_counter.c.value + 1)
        sequence = (await connection.execute(counter.returning(signal_counter.c.value))).scalar_one()
        await connection.execute(
            insert(signals).values(
                sequence=sequence, kind=kind, subject=subject, payload=dict(payload or {}), sent_at=database_time()
            )
        )

    def wake(self) -> None:
        """Poll now: this process hears what it just sent without waiting for the interval."""
        self._wake.set()

    async def started(self) -> None:
        """Returns once `run` has its starting point: every signal sent from now on will be heard."""
        await self._started.wait()

    async def caught_up(self, seconds: float = 1.0) -> bool:
        """Returns once this process has heard everything sent before the call; False where that takes too long."""
        heard = asyncio.get_running_loop().create_future()
        self._catching_up.append(heard)
        self.wake()
        done, _ = await asyncio.wait({heard}, timeout=seconds)
        return bool(done)

    async def run(self) -> None:
        """Poll until cancelled. The store's absence is borne (and shows in `last_contact`), never raised."""
        while True:
            self._wake.clear()
            waiting, self._catching_up = self._catching_up, []
            try:
                await self._poll()
            except StoreFault as fault:
                log.warning("signals.store_unreachable", reason=fault.detail)
                self._catching_up += waiting
            else:
                for heard in waiting:
                    heard.set_result(None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._wake.wait()

    async def _poll(self) -> None:
        asked = time.monotonic()
        if not self._started.is_set():
            async with self._database.statement() as connection:
                self._seen = (await connection.execute(select(signal_counter.c.value))).scalar_one()
            self._started.set()
        more = True
        while more:
            async with self._database.statement() as connection:
                rows = (await connection.execute(_from(self._seen))).all()
            if not rows:
                raise StoreFault(
                    "The store is out of reach.", detail="it has no counter of signals: is it being restored?"
                )
            self.last_contact = asked
            if self._is_set_back(rows[0]):
                self._begin_anew(rows[0].value)
                return
            for row in rows:
                if row.sequence is not None and row.sequence > self._seen:
                    self._seen, self._seen_at = row.sequence, row.sent_at
                    self._deliver(_signal(row))
            more = len(rows) > _BATCH
        if asked - self._pruned > _PRUNE_EVERY:
            self._pruned = asked
            await self.prune()

    def _is_set_back(self, first: Any) -> bool:
        """`first`: of what is there from the last one seen on, that one included while it is kept."""
        if first.value < self._seen:
            return True
        if first.sequence != self._seen:
            return False
        known, self._seen_at = self._seen_at, first.sent_at
        return known is not None and known != first.sent_at

    def _begin_anew(self, counter: int) -> None:
        log.critical("signals.store_set_back", seen=self._seen, now_at=counter)
        self._seen, self._seen_at = counter, None
        for callback in self._set_back:
            callback()

    def _deliver(self, signal: Signal) -> None:
        for callback in tuple(self._callbacks[signal.kind]):
            try:
                callback(signal)
            except Exception:
                log.exception("signals.callback_failed", kind=signal.kind, subject=signal.subject)

    async def kept(self, kind: str, after: int, limit: int = _BATCH) -> list[Signal]:
        """Signals of a kind with a number above `after`, in order, as far as they are still kept."""
        query = select(signals).where(signals.c.sequence > after, signals.c.kind == kind)
        async with self._database.statement() as connection:
            rows = (await connection.execute(query.order_by(signals.c.sequence).limit(limit))).all()
        return [_signal(row) for row in rows]

    async def reaches_back_to(self, sequence: int) -> bool:
        """Whether everything above this number is still kept (and it is one of this store's)."""
        oldest = select(func.min(signals.c.sequence)).scalar_subquery()
        async with self._database.statement() as connection:
            last, first = (await connection.execute(select(signal_counter.c.value, oldest))).one()
        return bool(sequence == last or (sequence < last and first is not None and first <= sequence + 1))

    async def prune(self) -> int:
        """Forget what is older than `keep`. Returns how many."""
        old = delete(signals).where(signals.c.sent_at < database_time(-self._keep))
        async with self._database.statement(writes=True) as connection:
            return (await connection.execute(old)).rowcount

    async def backlog(self) -> int:
        """How many signals are kept: for health pages."""
        async with self._database.statement() as connection:
            return int((await connection.execute(select(func.count()).select_from(signals))).scalar_one())


def _from(sequence: int) -> Select[Any]:
    """The counter, and beside it each signal from this number on; one row at least, unless the store is no store."""
    both = signal_counter.outerjoin(signals, signals.c.sequence >= sequence)
    chosen = select(signal_counter.c.value, *signals.c).select_from(both)
    return chosen.where(signal_counter.c.id == 1).order_by(signals.c.sequence).limit(_BATCH + 1)


def _signal(row: Any) -> Signal:
    return Signal(row.sequence, row.kind, row.subject, row.payload, row.sent_at)
