"""Prepared statements give what `Database.statement` gives, fail as it fails, and wait in the same queue."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import bindparam, insert, literal, select
from sqlalchemy.exc import IntegrityError

from taskgate.errors import StoreFault
from taskgate.identity.credentials import _LIVE, Credentials
from taskgate.store.database import Database
from taskgate.store.prepared import PreparedStatement
from taskgate.store.signals import Signals
from taskgate.store.tables import person_aliases
from tests.integration.store.test_sessions import task

_NEW = insert(person_aliases).from_select(
    ["alias", "person", "linked_at", "linked_by"],
    select(
        bindparam("alias", type_=person_aliases.c.alias.type),
        literal("ann"),
        bindparam("linked_at", type_=person_aliases.c.linked_at.type),
        literal("ann"),
    ),
).returning(person_aliases.c.linked_at, person_aliases.c.alias)  # fmt: skip
_ONE: PreparedStatement = select(person_aliases).where(person_aliases.c.alias == bindparam("alias"))
NOW = datetime.now(UTC).replace(microsecond=123000)


async def test_rows_are_the_same_either_way(database: Database) -> None:
    credential, _ = await Credentials(database, Signals(database)).issue(task(), "orders-db", 60.0, "test")
    prepared = await database.prepared(_LIVE).one_or_none(credential_id=credential.id)
    async with database.statement() as connection:
        row = (await connection.execute(_LIVE, {"credential_id": credential.id})).one()
    assert prepared._asdict() == row._asdict()
    assert prepared.expires_at.tzinfo is not None
    assert await database.prepared(_LIVE).one_or_none(credential_id="tg_" + "0" * 32) is None


async def test_writing_and_its_answer(database: Database) -> None:
    new = database.prepared(_NEW, writes=True)
    row = await new.one_or_none(alias="a", linked_at=NOW)
    assert (row.linked_at, row.alias) == (NOW, "a")
    assert (await database.prepared(_ONE).one_or_none(alias="a")).person == "ann"
    with pytest.raises(IntegrityError):
        await new.one_or_none(alias="a", linked_at=NOW + timedelta(1))
    assert (await new.one_or_none(alias="b", linked_at=NOW)).alias == "b"


async def test_writers_queue_with_transactions(database: Database) -> None:
    """Else the write lock that a transaction holds would be waited for in a thread, and time out."""
    new = database.prepared(_NEW, writes=True)
    if database.shared:
        pytest.skip("PostgreSQL has many writers")
    async with database.transaction():
        waiting = asyncio.create_task(new.one_or_none(alias="a", linked_at=NOW))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        assert await database.prepared(_ONE).one_or_none(alias="a") is None  # readers wait for nobody
    assert (await waiting).alias == "a"


async def test_faults_of_a_file(migrated_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    database = Database(f"sqlite:///{path}", timeout=0.2)
    one, new = database.prepared(_ONE), database.prepared(_NEW, writes=True)
    with pytest.raises(StoreFault):  # no table yet
        await one.one_or_none(alias="a")
    await database.migrate()
    assert await one.one_or_none(alias="a") is None  # by a new connection
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")  # another process writes, for too long
    started = time.monotonic()
    with pytest.raises(StoreFault) as raised:
        await new.one_or_none(alias="a", linked_at=NOW)
    assert time.monotonic() - started < 5
    assert raised.value.detail == "OperationalError"
    holder.execute("COMMIT")
    holder.close()
    assert (await new.one_or_none(alias="a", linked_at=NOW)).alias == "a"
    await database.close()
