"""prefect-sqlalchemy's asynchronous connector, through the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from prefect.blocks.abstract import CredentialsBlock
from prefect.utilities.hashing import hash_objects
from prefect_sqlalchemy import AsyncSqlAlchemyConnector
from pydantic import BaseModel, Field, PrivateAttr
from sqlalchemy import CursorResult, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from taskgate_prefect import compat
from taskgate_prefect.approvals import progress
from taskgate_prefect.approvals.asking import Result
from taskgate_prefect.approvals.everything import aask_for_all
from taskgate_prefect.attempt_connections import ByAttempt
from taskgate_prefect.connector import Parameters, Row
from taskgate_prefect.governed_connection import GovernedConnection
from taskgate_prefect.presentation import DOCUMENTATION_URL, LOGO_URL
from taskgate_prefect.run_attempt import RunAttempt, attempt_of, current_run
from taskgate_prefect.session_report import areport


@dataclass(slots=True)
class _Open:
    """What one run attempt has open: an engine, and the results that fetch methods go on reading. Both belong to the
    event loop that they were made in."""

    engine: AsyncEngine
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    results: dict[str, CursorResult[Any]] = field(default_factory=dict)


def _abandon(_attempt: RunAttempt, held: _Open) -> None:
    """Nothing is committed: whoever wanted that would have closed the connector. Runs in any thread."""
    held.results.clear()
    if held.loop.is_running():  # one that is over has taken its connections along
        asyncio.run_coroutine_threadsafe(held.engine.dispose(), held.loop)


class GovernedAsyncSqlAlchemyConnector(GovernedConnection, AsyncSqlAlchemyConnector):  # type: ignore[misc]
    """
    AsyncSqlAlchemyConnector through a Taskgate gateway: the same methods, and no password.

    Everything that GovernedSqlAlchemyConnector says of credentials, approvals and closing holds here too. While a human
    is asked, the event loop goes on.

    Attributes:
        gateway: Where Taskgate is.
        target: Name of the database in the gateway's settings.
        driver: asyncpg or psycopg.
        connect_args: The options which will be passed directly to the DBAPI's connect() method as additional keyword
            arguments.
        fetch_size: The number of rows to fetch at a time.
        approval_wait: What happens while a human is asked.
        approval_timeout: Seconds after which nobody is waited for any more.

    Example:
        Swap the import, and a flow of prefect-sqlalchemy's is governed:
        ```python
        from taskgate_prefect import GovernedAsyncSqlAlchemyConnector as AsyncSqlAlchemyConnector
        ```

        Load stored connection and use in context manager:
        ```python
        from prefect import flow
        from taskgate_prefect import GovernedAsyncSqlAlchemyConnector

        @flow
        async def customers():
            database_block = GovernedAsyncSqlAlchemyConnector.load("BLOCK_NAME")
            async with await database_block as database:
                return await database.fetch_all("SELECT * FROM customers")
        ```
    """

    _block_type_name: ClassVar[str | None] = "Governed Async SQLAlchemy Connector"
    _block_type_slug: ClassVar[str | None] = "governed-async-sqlalchemy-connector"
    _logo_url = LOGO_URL
    _documentation_url = DOCUMENTATION_URL

    connection_info: ClassVar[None] = None  # the gateway's to know, and in no document
    driver: Literal["asyncpg", "psycopg"] = Field(
        default="asyncpg", title="Driver", description="The installed driver for PostgreSQL to use."
    )

    _open: ByAttempt[_Open] = PrivateAttr(default_factory=lambda: ByAttempt(_abandon))

    def block_initialization(self) -> None:
        CredentialsBlock.block_initialization(self)

    def driver_name(self) -> str:
        return self.driver

    # --- what the stock connector hands out ---

    def get_engine(self, **create_engine_kwargs: Any) -> AsyncEngine:
        """As GovernedSqlAlchemyConnector.get_engine."""
        running = current_run()
        progress.in_this_process.executed(attempt_of(running))  # what is done with it is not seen here
        return self._opened(running, create_engine_kwargs).engine

    def get_connection(self, begin: bool = True, **connect_kwargs: Any) -> Any:
        """A connection, or with `begin` a transaction, as an asynchronous context manager."""
        engine = self.get_engine()
        connection = engine.begin(**connect_kwargs) if begin else engine.connect(**connect_kwargs)
        self.logger.info("Created a new connection.")
        return connection

    def get_client(self, client_type: Literal["engine", "connection"], **get_client_kwargs: Any) -> Any:
        """`get_engine` or `get_connection`."""
        if client_type == "engine":
            return self.get_engine(**get_client_kwargs)
        if client_type == "connection":
            return self.get_connection(**get_client_kwargs)
        raise ValueError(f"{client_type!r} is not supported; choose from engine or connection.")

    # --- statements ---

    async def fetch_one(self, operation: str, parameters: Parameters | None = None, **execution_options: Any) -> Row:
        """The next row, None behind the last. Repeated calls with the same inputs go on in the same result until
        `reset_connections`. Raises ApprovalRefused, ApprovalPending."""
        return (await self._result(operation, parameters, execution_options)).fetchone()

    async def fetch_many(
        self, operation: str, parameters: Parameters | None = None, size: int | None = None, **execution_options: Any
    ) -> Any:
        """The next `size` rows (without it, `fetch_size`). Otherwise as `fetch_one`."""
        result = await self._result(operation, parameters, execution_options)
        return result.fetchmany(size=size or self.fetch_size)

    async def fetch_all(self, operation: str, parameters: Parameters | None = None, **execution_options: Any) -> Any:
        """All rows that are left. Otherwise as `fetch_one`."""
        return (await self._result(operation, parameters, execution_options)).fetchall()

    async def execute(
        self, operation: str, parameters: Parameters | None = None, **execution_options: Any
    ) -> CursorResult[Any]:
        """Executes and commits. Raises ApprovalRefused, ApprovalPending."""
        result = await self._executed(
            lambda connection: connection.execute(text(operation), parameters, execution_options=execution_options)
        )
        self.logger.info("Executed one operation on %s.", self.target)
        return result

    async def execute_many(
        self, operation: str, seq_of_parameters: Sequence[Parameters], **execution_options: Any
    ) -> CursorResult[Any]:
        """Executes all of them in one transaction. Where some need a human, all that do are asked for at once."""
        sets = list(seq_of_parameters)
        running = current_run()

        async def all_at_once(connection: AsyncConnection) -> CursorResult[Any]:
            try:
                return await connection.execute(text(operation), sets, execution_options=execution_options)
            except Exception as error:
                await connection.rollback()
                if len(sets) > 1:
                    async with self.asking_session(running) as ask:
                        await aask_for_all(error, lambda one: ask(operation, one), sets)
                raise

        result = await self._executed(all_at_once)
        self.logger.info("Executed %d operations on %s.", len(sets), self.target)
        return result

    @asynccontextmanager
    async def asking_session(
        self, running: compat.RunningFlow
    ) -> AsyncIterator[Callable[[str, Parameters | None], Awaitable[None]]]:
        """As GovernedSqlAlchemyConnector.asking_session."""
        engine = self.governed_engine(running, self.logger, wait="ask").create_async(isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as connection:

                async def ask(operation: str, parameters: Parameters | None) -> None:
                    (await connection.execute(text(operation), parameters)).close()

                yield ask
        finally:
            await engine.dispose()

    # --- ends ---

    async def reset_connections(self) -> None:
        """Commit what fetch methods have executed, and let them execute anew."""
        for held in self._open.known_within(attempt_of(current_run())):
            await _close_results(held)
        self.logger.info("Reset opened connections and their results.")

    async def close(self) -> None:
        """Close this attempt's connections, and say in Prefect what the gateway made of its sessions."""
        running = compat.running_flow()
        if running is None:
            return
        taken = self._open.take(attempt_of(running))
        try:
            for _, held in taken:
                await _close_results(held)
        finally:
            for _, held in taken:
                await held.engine.dispose()
            if taken:
                await areport(self.gateway, [attempt for attempt, _ in taken], self.target, self.logger)

    def __getstate__(self) -> dict[Any, Any]:
        return BaseModel.__getstate__(self)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        BaseModel.__setstate__(self, state)

    # --- within ---

    def _opened(self, running: compat.RunningFlow, create_engine_kwargs: dict[str, Any] | None = None) -> _Open:
        log = self.logger
        return self._open.of(
            running, lambda: _Open(self.governed_engine(running, log).create_async(**(create_engine_kwargs or {})))
        )

    async def _result(
        self, operation: str, parameters: Parameters | None, execution_options: dict[str, Any]
    ) -> CursorResult[Any]:
        asking = self.asking(self.logger)
        held = self._opened(asking.running)
        key = hash_objects(operation, parameters, execution_options)
        if key is None:
            raise ValueError("the parameters cannot be told from others: pass values that can be serialised")

        async def run() -> CursorResult[Any]:
            async with AsyncExitStack() as stack:  # rolled back where it fails, kept open where not
                connection = await stack.enter_async_context(held.engine.begin())
                result = await connection.execute(text(operation), parameters, execution_options=execution_options)
                held.stack.push_async_exit(stack.pop_all())
                return result

        if key not in held.results:
            held.results[key] = await asking.aexecute(run, self.alook(asking.running))
        return held.results[key]

    async def _executed(self, statement: Callable[[AsyncConnection], Awaitable[Result]]) -> Result:
        asking = self.asking(self.logger)
        held = self._opened(asking.running)

        async def run() -> Result:
            async with held.engine.connect() as connection:
                result = await statement(connection)
                await connection.commit()
                return result

        result = await asking.aexecute(run, self.alook(asking.running))
        progress.in_this_process.executed(attempt_of(asking.running))
        return result


async def _close_results(held: _Open) -> None:
    for result in held.results.values():
        result.close()
    held.results.clear()
    await held.stack.aclose()
