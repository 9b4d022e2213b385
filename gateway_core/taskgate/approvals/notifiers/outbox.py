"""Notifications on their way: rows that are written together with what they announce, so that none is lost when a
gateway dies, and delivered beside everything else, so that a broken endpoint holds up nothing and nobody.

Delivery is at least once. Each endpoint has its own loop, its own count of failures in a row and its own pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from sqlalchemy import and_, exists, insert, not_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.approvals.notifiers.notification import Notification
from taskgate.approvals.notifiers.notifier import DeliveryFault, Notifier, Selective
from taskgate.domain import Approval
from taskgate.errors import StoreFault
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix, new_id
from taskgate.store.tables import notifications, notifier_states

log = structlog.get_logger(__name__)

_LEASE = 60.0  # seconds another process leaves a delivery alone
_LONGEST_BACKOFF = 900.0


class Outbox:
    """`url` gives the page of an approval, if there is one. `attempts` bounds the tries for one notification,
    `first_backoff` (seconds, doubled each time, with jitter) the wait between them; after `pause_after` failures in a
    row the endpoint rests."""

    def __init__(
        self,
        database: Database,
        notifiers: Sequence[Notifier],
        url: Callable[[str], str | None],
        *,
        attempts: int = 12,
        first_backoff: float = 1.0,
        pause_after: int = 5,
        pause: float = 30.0,
        interval: float = 1.0,
    ) -> None:
        self._database = database
        self._notifiers = tuple(notifiers)
        self._url = url
        self._attempts = attempts
        self._first_backoff = first_backoff
        self._pause_after = pause_after
        self._pause = pause
        self._interval = interval
        self._wakes = {notifier.name: asyncio.Event() for notifier in self._notifiers}
        if len(self._wakes) != len(self._notifiers):
            raise ValueError("two notifiers have the same name")

    async def enqueue(self, connection: AsyncConnection, event: str, approval: Approval) -> None:
        """One row an endpoint that it concerns, in the caller's transaction; then `wake`."""
        rows: list[dict[str, Any]] = []
        for notifier in self._notifiers:
            if isinstance(notifier, Selective) and not notifier.concerns(approval):
                continue
            notification = Notification.about(new_id(IdPrefix.NOTIFICATION), event, approval, self._url(approval.id))
            rows.append(
                {"id": notification.id, "notifier": notifier.name, "event": event, "payload": notification.to_json()}
            )
        for row in rows:
            await connection.execute(
                insert(notifications).values(
                    **row, state="pending", attempts=0, next_attempt_at=database_time(), created_at=database_time()
                )
            )

    def wake(self) -> None:
        for event in self._wakes.values():
            event.set()

    async def run(self) -> None:
        """Deliver until cancelled; then the notifiers are closed."""
        try:
            async with asyncio.TaskGroup() as group:
                for notifier in self._notifiers:
                    group.create_task(self._serve(notifier), name=f"notifier {notifier.name}")
        finally:
            for notifier in self._notifiers:
                with contextlib.suppress(Exception):  # nobody waits for what another's code has to say now
                    await notifier.close()

    async def _serve(self, notifier: Notifier) -> None:
        wake = self._wakes[notifier.name]
        while True:
            wake.clear()
            try:
                while await self.deliver_one(notifier):
                    pass
            except StoreFault as fault:
                log.warning("outbox.store_unreachable", notifier=notifier.name, reason=fault.detail)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await wake.wait()

    async def deliver_one(self, notifier: Notifier) -> bool:
        """Try the oldest that is due for this endpoint. False where nothing is, or the endpoint rests."""
        row = await self._claim(notifier.name)
        if row is None:
            return False
        await self._settle(notifier.name, row, await self._try(notifier, Notification.from_json(row.payload)))
        return True

    async def _claim(self, name: str) -> Any:
        """Counted as a try before it is one, and left alone by other processes for the lease: a process that dies while
        delivering costs a delay, never an endless loop."""
        paused = exists().where(notifier_states.c.notifier == name, notifier_states.c.paused_until > database_time())
        due = (
            select(notifications.c.id)
            .where(
                notifications.c.notifier == name,
                notifications.c.state == "pending",
                notifications.c.next_attempt_at <= database_time(),
                not_(paused),
            )
            .order_by(notifications.c.id)
            .limit(1)
        )
        async with self._database.statement() as connection:
            if (await connection.execute(due)).first() is None:
                return None
        change = (
            update(notifications)
            .where(notifications.c.id == due.with_for_update(skip_locked=True).scalar_subquery())
            .values(next_attempt_at=database_time(_LEASE), attempts=notifications.c.attempts + 1)
            .returning(notifications.c.id, notifications.c.payload, notifications.c.attempts)
        )
        async with self._database.transaction() as connection:
            return (await connection.execute(change)).one_or_none()

    async def _try(self, notifier: Notifier, notification: Notification) -> str | None:
        try:
            await notifier.deliver(notification)
        except DeliveryFault as fault:
            return fault.message
        except Exception as error:  # noqa: BLE001
            # Foreign code: its words may quote what it holds.
            log.warning("outbox.notifier_failed", notifier=notifier.name, error=type(error).__name__)
            return type(error).__name__
        return None

    async def _settle(self, name: str, row: Any, error: str | None) -> None:
        mine = update(notifications).where(notifications.c.id == row.id)
        async with self._database.transaction() as connection:
            if error is None:
                await connection.execute(mine.values(state="sent", sent_at=database_time(), last_error=None))
            elif row.attempts >= self._attempts:
                log.error("outbox.given_up", notifier=name, notification=row.id, error=error)
                await connection.execute(mine.values(state="failed", last_error=error))
            else:
                wait = min(_LONGEST_BACKOFF, self._first_backoff * 2 ** (row.attempts - 1))
                wait *= random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
                await connection.execute(mine.values(next_attempt_at=database_time(wait), last_error=error))
            await self._note(connection, name, error)

    async def _note(self, connection: AsyncConnection, name: str, error: str | None) -> None:
        dialect = postgresql if self._database.shared else sqlite
        first = dialect.insert(notifier_states).values(notifier=name, failures=0).on_conflict_do_nothing()
        await connection.execute(first)
        mine = update(notifier_states).where(notifier_states.c.notifier == name)
        if error is None:
            await connection.execute(
                mine.values(failures=0, paused_until=None, last_success_at=database_time(), last_error=None)
            )
            return
        failures = (
            await connection.execute(
                mine.values(
                    failures=notifier_states.c.failures + 1, last_error=error, last_failure_at=database_time()
                ).returning(notifier_states.c.failures)
            )
        ).scalar_one()
        if failures >= self._pause_after:
            await connection.execute(mine.values(paused_until=database_time(self._pause)))

    async def prune(self, keep: float = 7 * 86400.0) -> int:
        """Forget what was sent or given up longer ago than `keep` seconds. Returns how many."""
        old = and_(notifications.c.state != "pending", notifications.c.created_at < database_time(-keep))
        async with self._database.statement(writes=True) as connection:
            return (await connection.execute(notifications.delete().where(old))).rowcount
