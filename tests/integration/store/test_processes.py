from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import delete, update

from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.processes import DEAD_AFTER, TOO_LATE_AFTER, GatewayProcess
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
    late: list[str] = []
    beating = asyncio.create_task(process.run(lambda: late.append(process.id)))
    for _ in range(200):
        await asyncio.sleep(0.02)
        if await process.peers():
            break
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    assert await process.peers() == 1
    assert late == [process.id]


async def _forgotten(database: Database, process: GatewayProcess) -> None:
    async with database.statement(writes=True) as connection:
        await connection.execute(delete(processes).where(processes.c.id == process.id))


async def _ended(database: Database, process: GatewayProcess) -> None:
    await process.stopped()


async def _silent(database: Database, process: GatewayProcess) -> None:
    await silent_for(database, process, TOO_LATE_AFTER + 0.1)


@pytest.mark.parametrize("happens", [_silent, _forgotten, _ended])
async def test_whom_others_may_take_for_dead_is_told_before_it_counts_again(
    database: Database, happens: Callable[[Database, GatewayProcess], Awaitable[None]]
) -> None:
    process = GatewayProcess(database, version="1")
    await process.register()
    told: list[int] = []
    await process.beat(lambda: told.append(0))
    assert told == []
    await happens(database, process)
    await process.beat(lambda: told.append(1))
    assert told == [1]
    assert await process.peers() == 1
    await process.beat(lambda: told.append(2))
    assert told == [1]


async def test_a_process_knows_it_is_late_before_others_give_up_on_it(database: Database) -> None:
    process = GatewayProcess(database, version="1")
    await process.register()
    await silent_for(database, process, (TOO_LATE_AFTER + DEAD_AFTER) / 2)
    assert await process.peers() == 1
    told: list[int] = []
    await process.beat(lambda: told.append(1))
    assert told == [1]
