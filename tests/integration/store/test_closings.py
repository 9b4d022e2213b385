"""The ends of sessions reach the index in groups, whatever becomes of the store meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.domain import Pair
from taskgate.errors import StoreFault
from taskgate.store import closings as closings_module
from taskgate.store.database import Database
from taskgate.store.sessions import SessionCounts, SessionIndex
from tests.integration.store.test_sessions import open_session, task


class Flaky:
    """A database whose transactions can be made to fail, and are counted."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.transactions = 0
        self.failing = False
        self._transaction = database.transaction
        monkeypatch.setattr(database, "transaction", self.transaction)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        self.transactions += 1
        async with self._transaction() as connection:
            yield connection
            if self.failing:
                raise StoreFault("The store is out of reach.")


@pytest.fixture
def index(database: Database) -> SessionIndex:
    return SessionIndex(database, "gwp_1")


@pytest.fixture
def flaky(database: Database, monkeypatch: pytest.MonkeyPatch) -> Flaky:
    return Flaky(database, monkeypatch)


async def closed(index: SessionIndex, *session_ids: str) -> bool:
    found = [await index.get(session_id) for session_id in session_ids]
    return all(one is not None and one.closed_at is not None for one in found)


async def eventually_closed(index: SessionIndex, *session_ids: str) -> None:
    async with asyncio.timeout(10):
        while not await closed(index, *session_ids):
            await asyncio.sleep(0.02)


async def test_many_ends_share_a_transaction(index: SessionIndex, flaky: Flaky) -> None:
    ids = [await open_session(index, task()) for _ in range(20)]
    for number, session_id in enumerate(ids):
        index.closed(session_id, f"end {number}", SessionCounts(number, 1, 2, 3), [Pair("sql.select", f"t{number}")])
    assert not await closed(index, ids[0])
    await eventually_closed(index, *ids)
    assert flaky.transactions == 1
    for number, session_id in enumerate(ids):
        session = await index.get(session_id)
        assert session is not None
        assert session.closed_reason == f"end {number}"
        assert session.counts == SessionCounts(number, 1, 2, 3)
        assert [pair.object for pair in await index.pairs(session_id)] == [f"t{number}"]


async def test_closed_at_is_when_it_closed(index: SessionIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closings_module, "WRITE_EVERY", 60.0)
    first, second = [await open_session(index, task()) for _ in range(2)]
    index.closed(first, "done", SessionCounts())
    await asyncio.sleep(0.5)
    index.closed(second, "done", SessionCounts())
    await index.settle()
    one, other = await index.get(first), await index.get(second)
    assert one is not None
    assert other is not None
    assert one.closed_at is not None
    assert other.closed_at is not None
    assert timedelta(seconds=0.4) < other.closed_at - one.closed_at < timedelta(seconds=5)
    await index.stop()


async def test_a_store_that_is_away_loses_nothing(
    index: SessionIndex, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closings_module, "RETRY_AFTER", 0.05)
    first, second = [await open_session(index, task()) for _ in range(2)]
    flaky.failing = True
    index.closed(first, "done", SessionCounts(7))
    async with asyncio.timeout(10):
        while flaky.transactions < 3:
            await asyncio.sleep(0.02)
    index.closed(second, "done", SessionCounts(8))
    with pytest.raises(StoreFault):
        await index.settle()
    assert not await closed(index, first)
    flaky.failing = False
    await eventually_closed(index, first, second)
    session = await index.get(first)
    assert session is not None
    assert session.counts == SessionCounts(7)


async def test_stop_writes_what_waits(index: SessionIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closings_module, "WRITE_EVERY", 60.0)
    session_id = await open_session(index, task())
    index.closed(session_id, "the gateway is stopping", SessionCounts())
    await index.stop()
    assert await closed(index, session_id)


async def test_stop_without_the_store_does_not_hang(
    database: Database, index: SessionIndex, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closings_module, "WRITE_EVERY", 60.0)
    session_id = await open_session(index, task())
    index.closed(session_id, "the gateway is stopping", SessionCounts())
    flaky.failing = True
    with pytest.raises(StoreFault):
        async with asyncio.timeout(10):
            await index.stop()
    flaky.failing = False
    assert await SessionIndex(database, "gwp_2").close_abandoned() == 1  # what is left is closed as a dead process's


async def test_what_waits_is_bounded(index: SessionIndex, flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closings_module, "MOST_WAITING", 3)
    ids = [await open_session(index, task()) for _ in range(4)]
    for session_id in ids:
        index.closed(session_id, "done", SessionCounts())
    await index.settle()
    assert [await closed(index, session_id) for session_id in ids] == [True, True, True, False]
    index.closed(ids[3], "done", SessionCounts())
    await index.settle()
    assert await closed(index, ids[3])


async def test_ends_that_no_database_would_take_as_they_are(index: SessionIndex) -> None:
    """One such end must not keep the others out for good."""
    session_id, other = [await open_session(index, task()) for _ in range(2)]
    pairs = [Pair("sql.select", "a\x00b"), Pair("sql.select", "half \ud800")]
    index.closed(session_id, "the target said \x00 and \udc80", SessionCounts(), pairs)
    index.closed("ses_never_indexed", "refused", SessionCounts(1), [Pair("sql.select", "t")])
    index.closed(other, "done", SessionCounts())
    await index.settle()
    assert await closed(index, session_id, other)
    assert len(await index.pairs(session_id)) == 2
    assert await index.pairs("ses_never_indexed") == ()


async def test_a_cancelled_opening_does_not_outlive_its_end(database: Database, index: SessionIndex) -> None:
    """The insertion that was under way when its caller went is over before the end is written."""
    if database.shared:
        pytest.skip("there the driver withdraws the statement")
    path = str(database._path())
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    opening = asyncio.create_task(open_session(index, task()))
    await asyncio.sleep(0.1)
    opening.cancel()
    asyncio.get_running_loop().call_later(0.2, holder.execute, "COMMIT")
    with contextlib.suppress(asyncio.CancelledError):
        await opening
    page = await index.search()
    assert len(page.items) == 1  # it went in, and whoever cancelled knows that it is over
    index.closed(page.items[0].id, "the session could not be opened", SessionCounts())
    await index.settle()
    assert await closed(index, page.items[0].id)
    holder.close()
