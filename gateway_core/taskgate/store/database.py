"""The store's database: SQLite for one gateway, PostgreSQL for many. The only place that knows which one it is.

    async with database.statement() as connection:              # reads; every statement stands alone, one round trip
    async with database.statement(writes=True) as connection:   # one writing statement, one round trip
    async with database.transaction() as connection:            # several statements, all or nothing
    find = database.prepared(...)                               # a statement that every connection waits for

Whatever goes wrong with the database inside one of these becomes `StoreFault`, whose text never holds a statement's
values. `sqlalchemy.exc.IntegrityError` passes through: it is an answer.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from taskgate.errors import StoreFault
from taskgate.store import migrate as migrations
from taskgate.store.address import StoreAddress
from taskgate.store.direct_sqlite import DirectSqlite
from taskgate.store.prepared import Prepared, PreparedStatement, SqliteText

_FAULTS = (SQLAlchemyError, sqlite3.Error, OSError, TimeoutError)

_LONGEST_MIGRATION = 60.0
"""Seconds that a process waits for another that migrates the same SQLite file."""


class Database:
    """`url`: see `StoreAddress.parse`.

    `timeout` in seconds bounds connecting, waiting for a free connection and every single statement: a store that hangs
    is found out of reach after at most twice that.
    """

    def __init__(self, url: str, *, pool_size: int = 10, timeout: float = 3.0) -> None:
        address = StoreAddress.parse(url)
        self._url, self._connect = address.url, address.connect
        self._timeout = timeout
        self._engine = self._create_engine(pool_size)
        if self.shared:
            self._statements = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        else:
            self._statements = self._engine
        self._transactions = self._engine.execution_options(taskgate_begin=True)
        # SQLite has one writer at a time. Within a process they queue here, fairly, instead of polling for the lock.
        self._writer = None if self.shared else asyncio.Lock()
        self._direct = (
            {}
            if self.shared
            # What is written directly need not be durable at once: see `prepared`.
            else {writes: DirectSqlite(self._path(), timeout=timeout, durable=False) for writes in (False, True)}
        )

    def __repr__(self) -> str:
        return f"Database({self._url.render_as_string(hide_password=True)!r})"

    @property
    def shared(self) -> bool:
        """Whether other gateways may use the same store: then only an operator migrates it."""
        return self._url.get_backend_name() == "postgresql"

    @asynccontextmanager
    async def statement(self, *, writes: bool = False) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            stack.enter_context(_faults())
            if writes and self._writer:
                await stack.enter_async_context(self._writer)
            yield await stack.enter_async_context(self._statements.connect())

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Read committed on PostgreSQL; on SQLite the write lock is taken at the start (BEGIN IMMEDIATE)."""
        async with AsyncExitStack() as stack:
            stack.enter_context(_faults())
            if self._writer:
                await stack.enter_async_context(self._writer)
            yield await stack.enter_async_context(self._transactions.begin())

    def prepared(self, statement: PreparedStatement, *, writes: bool = False) -> Prepared:
        """One statement that stands alone, for paths that are run through often. On SQLite what it writes survives the
        death of this process at once, a power cut from the next other write on: not for what must not be forgotten."""
        if self.shared:
            return _Through(self, statement, writes)
        return _Past(self._direct[writes], statement, self._writer if writes else None)

    async def migrate(self) -> None:
        """Bring the schema to this version's. Safe to run from several places at once; all or nothing.
        Raises StoreFault where a newer version has migrated it already: nothing is ever taken back."""
        self._prepare_file()
        engine = self._create_engine(1, migrates=True).execution_options(taskgate_begin=True)
        try:
            with _faults():
                async with engine.begin() as connection:
                    await connection.run_sync(migrations.upgrade)
        finally:
            await engine.dispose()

    async def check_migrated(self) -> None:
        """Raises StoreFault unless the schema is exactly this version's."""
        if not self.shared and not self._file_exists():
            found = None
        else:
            async with self.statement() as connection:
                found = await connection.run_sync(migrations.current)
        wanted = migrations.head()
        if found == wanted:
            return
        if found is None:
            raise StoreFault("The store is empty.", hint="Run `taskgate db migrate` first.")
        if not migrations.is_known(found):
            raise migrations.newer(found)
        raise StoreFault(
            f"The store's schema is {found}, of an older version of the gateway. This one needs {wanted}.",
            hint="Back the store up and run `taskgate db migrate`; or run the version that matches the store.",
        )

    async def close(self) -> None:
        for direct in self._direct.values():
            direct.close()
        await self._engine.dispose()

    def _create_engine(self, pool_size: int, *, migrates: bool = False) -> AsyncEngine:
        options: dict[str, Any] = {"hide_parameters": True, "pool_timeout": self._timeout, "pool_size": pool_size}
        if self.shared:
            options["connect_args"] = {
                "timeout": self._timeout,
                "command_timeout": None if migrates else self._timeout,
                "server_settings": {"application_name": "taskgate"},
                **self._connect,
            }
        else:
            self._prepare_file()
            options["connect_args"] = {"timeout": _LONGEST_MIGRATION if migrates else self._timeout}
        engine = create_async_engine(self._url, **options)
        if not self.shared:
            event.listen(engine.sync_engine, "connect", _configure_sqlite)
            event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine

    def _prepare_file(self) -> None:
        """Create the file for its owner only, before SQLite creates it for everybody."""
        if not self.shared and not self._file_exists():
            try:
                os.close(os.open(self._path(), os.O_CREAT | os.O_RDWR, 0o600))
            except OSError as error:
                raise StoreFault(f"The store cannot be created at {self._path()}: {error.strerror}.") from error

    def _path(self) -> Path:
        return Path(self._url.database or "")

    def _file_exists(self) -> bool:
        return self._path().exists()


class _Through:
    """A prepared statement on PostgreSQL: SQLAlchemy and its driver keep it compiled and prepared."""

    def __init__(self, database: Database, statement: PreparedStatement, writes: bool) -> None:
        self._database = database
        self._statement = statement
        self._writes = writes

    async def one_or_none(self, **values: object) -> Any:
        async with self._database.statement(writes=self._writes) as connection:
            return (await connection.execute(self._statement, values)).one_or_none()


class _Past:
    """A prepared statement on SQLite: past SQLAlchemy, in the writers' queue where it writes."""

    def __init__(self, direct: DirectSqlite, statement: PreparedStatement, writer: asyncio.Lock | None) -> None:
        self._direct = direct
        self._text = SqliteText(statement)
        self._writer = writer

    async def one_or_none(self, **values: object) -> Any:
        with _faults():
            bound = self._text.bind(values)
            try:
                if self._writer is None:
                    rows = await self._direct.run(self._text.text, bound)
                else:
                    async with self._writer:
                        rows = await self._direct.run(self._text.text, bound)
            except sqlite3.IntegrityError as error:
                raise IntegrityError(self._text.text, None, error) from error
        return self._text.row(rows[0]) if rows else None


def _configure_sqlite(connection: Any, _record: object) -> None:
    # Transactions are begun by _begin_sqlite alone, never by the driver's guess.
    connection.isolation_level = None
    cursor = connection.cursor()
    _write_ahead(cursor)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        # FULL: a grant that was used must stay used when the power goes.
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Several that open a new file at once wait for each other here, and SQLite refuses some without waiting: so this
    waits by itself, as long as the connection would."""
    cursor.execute("PRAGMA busy_timeout")
    (patience,) = cursor.fetchone()  # milliseconds
    cursor.execute("PRAGMA busy_timeout = 0")
    until = time.monotonic() + patience / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            await_only(asyncio.sleep(0.02))
    cursor.execute(f"PRAGMA busy_timeout = {patience}")


def _begin_sqlite(connection: Connection) -> None:
    if connection.get_execution_options().get("taskgate_begin"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class _faults:  # noqa: N801
    """Turns the database's errors into StoreFault."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, _FAULTS) and not isinstance(error, IntegrityError):
            raise StoreFault(
                "The store is out of reach.",
                detail=type(getattr(error, "orig", None) or error).__name__,
                hint="Nothing new is let through until it answers again.",
            ) from error
