"""What is over goes when its time has come, nothing else does, and nobody waits for it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import Table, func, insert, select, update

from taskgate.domain import Pair
from taskgate.identity.credentials import Credentials
from taskgate.store import retention
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix, new_id
from taskgate.store.processes import GatewayProcess
from taskgate.store.retention import KeptFor, Retention
from taskgate.store.sessions import SessionCounts, SessionIndex
from taskgate.store.signals import Signals
from taskgate.store.tables import (
    approval_views,
    approval_votes,
    approvals,
    credentials,
    processes,
    session_effects,
    sessions,
)
from tests.integration.approvals.setting import Gateway, draft
from tests.integration.store.test_sessions import open_session, task

DAY = 86_400.0
ALL = KeptFor(sessions=30 * DAY, approvals=30 * DAY, credentials=30 * DAY)


async def count(database: Database, table: Table) -> int:
    async with database.statement() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


async def change(database: Database, table: Table, row_id: str, **days_ago: float) -> None:
    times = {name: database_time(-days * DAY) for name, days in days_ago.items()}
    async with database.statement(writes=True) as connection:
        await connection.execute(update(table).where(table.c.id == row_id).values(**times))


async def test_sessions(database: Database) -> None:
    index = SessionIndex(database, "gwp_1")
    long_over, just_over, long_open, still_open = [await open_session(index, task()) for _ in range(4)]
    for session_id in (long_over, just_over, long_open):
        index.closed(session_id, "over", SessionCounts(1), [Pair("sql.select", "public.orders")])
    await index.settle()
    await change(database, sessions, long_over, opened_at=40, closed_at=31)
    await change(database, sessions, just_over, opened_at=29, closed_at=29)
    await change(database, sessions, long_open, opened_at=400, closed_at=1)
    await change(database, sessions, still_open, opened_at=400)
    assert (await Retention(database, ALL).apply())["sessions"] == 1
    assert await index.get(long_over) is None
    for session_id in (just_over, long_open, still_open):
        assert await index.get(session_id) is not None
    assert await count(database, session_effects) == 2


async def test_credentials(database: Database) -> None:
    issuing = Credentials(database, Signals(database))
    old, revoked, expired, live = [(await issuing.issue(task(), "orders-db", 600, "test"))[0].id for _ in range(4)]
    await issuing.revoke(revoked, "dana", "test")
    await change(database, credentials, old, expires_at=31)
    await change(database, credentials, expired, expires_at=29)
    assert (await Retention(database, ALL).apply())["credentials"] == 1
    assert await issuing.get(old) is None
    for credential_id in (revoked, expired, live):
        assert await issuing.get(credential_id) is not None


async def test_approvals(database: Database) -> None:
    gateway = Gateway(database)
    dana = await gateway.person("dana")
    ids = [(await gateway.approvals.request(draft(digest=str(number) * 64))).id for number in range(5)]
    decided, usable, fresh, undecided, denied = ids
    for approval_id in (decided, usable, fresh):
        await gateway.approvals.decide(approval_id, dana.id, approve=True)
    await gateway.approvals.parameters(undecided, dana.id)
    await gateway.approvals.decide(denied, dana.id, approve=False)
    await change(database, approvals, decided, decided_at=40, expires_at=31)
    await change(database, approvals, usable, decided_at=40, expires_at=-1)  # a grant that can still be used
    await change(database, approvals, fresh, decided_at=1, expires_at=1)
    await change(database, approvals, undecided, expires_at=40)
    await change(database, approvals, denied, decided_at=40, expires_at=40)
    assert (await Retention(database, ALL).apply())["approvals"] == 2
    async with database.statement() as connection:
        left = set((await connection.execute(select(approvals.c.id))).scalars())
    assert left == {usable, fresh, undecided}
    assert await count(database, approval_votes) == 2
    assert await count(database, approval_views) == 1


async def test_nothing_goes_where_nothing_is_set(database: Database) -> None:
    index = SessionIndex(database, "gwp_1")
    session_id = await open_session(index, task())
    index.closed(session_id, "over", SessionCounts())
    await index.settle()
    await change(database, sessions, session_id, opened_at=4000, closed_at=4000)
    credential, _ = await Credentials(database, Signals(database)).issue(task(), "orders-db", 600, "test")
    await change(database, credentials, credential.id, expires_at=4000)
    assert await Retention(database, KeptFor()).apply() == {"attempts": 0, "registered_runs": 0, "processes": 0}
    assert await index.get(session_id) is not None


async def test_processes_that_died_long_ago(database: Database) -> None:
    living, dead = GatewayProcess(database, version="1"), GatewayProcess(database, version="1")
    await living.register()
    await dead.register()
    await change(database, processes, dead.id, heartbeat_at=31)
    assert (await Retention(database, KeptFor()).apply())["processes"] == 1
    assert await living.peers() == 1


async def fill(database: Database, number: int) -> None:
    """Sessions that ended long ago, each with many pairs."""
    long_ago = datetime.now(UTC) - timedelta(days=400)
    ids = [new_id(IdPrefix.SESSION) for _ in range(number)]
    row = {
        "process_id": "gwp_old", "principal": {}, "principal_key": "x", "target": "orders-db", "protocol": "postgres",
        "client_address": "x", "policy_version": "x", "opened_at": long_ago, "closed_at": long_ago,
        "actions": 0, "refused": 0, "rows": 0, "masked": 0,
    }  # fmt: skip
    pairs = [{"session_id": each, "effect": "sql.select", "object": f"t{n}"} for each in ids for n in range(20)]
    async with database.transaction() as connection:
        await connection.execute(insert(sessions), [{"id": each, **row} for each in ids])
        await connection.execute(insert(session_effects), pairs)


async def test_sessions_open_while_thousands_go(database: Database) -> None:
    await fill(database, 3_000)
    index = SessionIndex(database, "gwp_1")
    applying = asyncio.create_task(Retention(database, ALL, pause=0.02).apply())
    waits: list[float] = []
    while not applying.done():
        started = time.monotonic()
        await open_session(index, task())
        waits.append(time.monotonic() - started)
        await asyncio.sleep(0.005)
    assert (await applying)["sessions"] == 3_000
    assert len(waits) >= 3_000 // retention.BATCH
    assert sorted(waits)[len(waits) // 2] < 0.1
    assert max(waits) < 1.0
    assert await count(database, session_effects) == 0


async def test_two_processes_at_once(database: Database, store_url: str) -> None:
    await fill(database, 1_000)
    other = Database(store_url)
    try:
        forgotten = await asyncio.gather(*(Retention(each, ALL, pause=0.0).apply() for each in (database, other)))
    finally:
        await other.close()
    await Retention(database, ALL).apply()
    assert sum(each["sessions"] for each in forgotten) <= 1_000
    assert await count(database, sessions) == 0


async def test_it_is_applied_now_and_then(database: Database) -> None:
    await fill(database, 1)
    running = asyncio.create_task(Retention(database, ALL, every=0.05).run())
    async with asyncio.timeout(10):
        while await count(database, sessions):
            await asyncio.sleep(0.02)
    running.cancel()
