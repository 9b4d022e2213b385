"""The gateway processes that share a store, by heartbeat.

Time is the database's. A process that has not beaten for 20 s counts as dead: the others mark its sessions as closed.
It may be alive all the same (it stood still, it could read but not write, somebody removed its row, the store was set
back), so a beat that comes after 15 s ends its sessions before it counts again: what is marked as closed is closed.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

import structlog
from sqlalchemy import Update, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from taskgate.errors import StoreFault
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix, new_id
from taskgate.store.tables import processes

log = structlog.get_logger(__name__)

DEAD_AFTER = 20.0
"""Seconds without a heartbeat after which others take a process for dead."""

TOO_LATE_AFTER = 15.0
"""Seconds after which a process takes itself for dead: less, so that none is in time while another gives up on it."""


def alive() -> ColumnElement[bool]:
    """The condition that a row of `processes` is of a process that may have live sessions."""
    return _heard_of_within(DEAD_AFTER)


def _heard_of_within(seconds: float) -> ColumnElement[bool]:
    return processes.c.stopped_at.is_(None) & (processes.c.heartbeat_at > database_time(-seconds))


class GatewayProcess:
    """This process in the store. `register` before the first session, `run` beside them, `stopped` at the end."""

    def __init__(self, database: Database, *, version: str, interval: float = 3.0) -> None:
        self.id = new_id(IdPrefix.PROCESS)
        self._database = database
        self._version = version
        self._interval = interval
        self.alone = True  # as far as is known: no other process is alive on this store

    async def register(self) -> None:
        await self._enter()
        self.alone = await self.peers() < 2

    async def _enter(self) -> None:
        row = insert(processes).values(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=self._version,
            started_at=database_time(),
            heartbeat_at=database_time(),
        )
        async with self._database.statement(writes=True) as connection:
            await connection.execute(row)

    async def beat(self, taken_for_dead: Callable[[], None]) -> None:
        """`taken_for_dead` is called where the beat comes too late, before this process counts again."""
        mine = update(processes).where(processes.c.id == self.id)
        if await self._changed(mine.where(_heard_of_within(TOO_LATE_AFTER)).values(heartbeat_at=database_time())):
            return
        log.error("process.taken_for_dead", process=self.id)
        taken_for_dead()
        if not await self._changed(mine.values(heartbeat_at=database_time(), stopped_at=None)):
            await self._enter()

    async def _changed(self, change: Update) -> bool:
        async with self._database.statement(writes=True) as connection:
            return (await connection.execute(change)).rowcount > 0

    async def run(self, taken_for_dead: Callable[[], None]) -> None:
        """Beat until cancelled; an unreachable store is logged and tried again."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.beat(taken_for_dead)
                self.alone = await self.peers() < 2
            except StoreFault as fault:
                log.warning("process.heartbeat_failed", process=self.id, reason=fault.detail)

    async def stopped(self) -> None:
        """After the last session is closed."""
        mine = update(processes).where(processes.c.id == self.id).values(stopped_at=database_time())
        async with self._database.statement(writes=True) as connection:
            await connection.execute(mine)

    async def peers(self) -> int:
        """How many processes are alive, this one included."""
        async with self._database.statement() as connection:
            return len((await connection.execute(select(processes.c.id).where(alive()))).all())
