from __future__ import annotations

import asyncio

from sqlalchemy import update

from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.processes import DEAD_AFTER, GatewayProcess
from taskgate.store.tables import processes


async def silent_for(database: Database, process: GatewayProcess, seconds: float) -> None:
    async with database.statement(writes=True) as connection:
        await connection.execute(
            update(processes).where(processes.c.id == process.id).values(heartbeat_at=database_time(-seconds))
        )


async def test_stopped_and_silent_processes_are_not_alive(database: Database) -> None:
    living, stopped, silent = (GatewayProcess(database, version="1") for _ in range(3))
    for process in (living, stopped, silent):
        await process.register()
    assert await living.peers() == 3
    await stopped.stopped()
    await silent_for(database, silent, DEAD_AFTER + 1)
    assert await living.peers() == 1


async def test_heartbeat_brings_a_process_back(database: Database) -> None:
    process = GatewayProcess(database, version="1", interval=0.02)
    await process.register()
    await silent_for(database, process, DEAD_AFTER + 1)
    assert await process.peers() == 0
    beating = asyncio.create_task(process.run())
    for _ in range(200):
        await asyncio.sleep(0.02)
        if await process.peers():
            break
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    assert await process.peers() == 1
