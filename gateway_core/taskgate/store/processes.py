"""The gateway processes that share a store, by heartbeat.

A process without the store for 5 s ends its live sessions (DESIGN: control signals), and the heartbeat goes through the
same store: one that has not been heard of for 15 s by the database's clock has no session left, whatever became of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from dataclasses import dataclass

import structlog
from sqlalchemy import insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from taskgate.errors import StoreFault
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix, new_id
from taskgate.store.peer_box import PeerBox
from taskgate.store.tables import processes

log = structlog.get_logger(__name__)

DEAD_AFTER = 15.0
NUMBER_BITS = 10


def alive() -> ColumnElement[bool]:
    """The condition that a row of `processes` is of a process that may have live sessions."""
    return processes.c.stopped_at.is_(None) & (processes.c.heartbeat_at > database_time(-DEAD_AFTER))


def number_of(process_id: str) -> int:
    """What stands for a process where ten bits have to do. Two may have the same."""
    return int.from_bytes(hashlib.sha256(process_id.encode()).digest()[:2], "big") % (1 << NUMBER_BITS)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another process that lives. `box`: what to seal messages to it with."""

    id: str
    box: bytes


class GatewayProcess:
    """This process in the store. `register` before the first session, `run` beside them, `stopped` at the end."""

    def __init__(self, database: Database, *, version: str, interval: float = 3.0) -> None:
        self.id = new_id(IdPrefix.PROCESS)
        self.number = number_of(self.id)
        self.box = PeerBox()
        self._database = database
        self._version = version
        self._interval = interval

    async def register(self) -> None:
        row = insert(processes).values(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=self._version,
            started_at=database_time(),
            heartbeat_at=database_time(),
            box=self.box.public,
        )
        async with self._database.statement(writes=True) as connection:
            await connection.execute(row)

    async def beat(self) -> None:
        mine = update(processes).where(processes.c.id == self.id).values(heartbeat_at=database_time())
        async with self._database.statement(writes=True) as connection:
            await connection.execute(mine)

    async def run(self) -> None:
        """Beat until cancelled; an unreachable store is logged and tried again."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.beat()
            except StoreFault as fault:
                log.warning("process.heartbeat_failed", process=self.id, reason=fault.detail)

    async def stopped(self) -> None:
        """After the last session is closed."""
        mine = update(processes).where(processes.c.id == self.id).values(stopped_at=database_time())
        async with self._database.statement(writes=True) as connection:
            await connection.execute(mine)

    async def others(self) -> list[Peer]:
        """The other processes that live."""
        query = select(processes.c.id, processes.c.box).where(
            alive(), processes.c.id != self.id, processes.c.box.is_not(None)
        )
        async with self._database.statement() as connection:
            return [Peer(row.id, row.box) for row in (await connection.execute(query)).all()]

    async def peers(self) -> int:
        """How many processes are alive, this one included."""
        async with self._database.statement() as connection:
            return len((await connection.execute(select(processes.c.id).where(alive()))).all())
