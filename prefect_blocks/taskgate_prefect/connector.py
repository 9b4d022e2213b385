"""prefect-sqlalchemy's connector, through the gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from prefect.blocks.abstract import CredentialsBlock
from prefect.utilities.hashing import hash_objects
from prefect_sqlalchemy import SqlAlchemyConnector
from pydantic import BaseModel, Field, PrivateAttr
from sqlalchemy import CursorResult, Engine, text
from sqlalchemy.engine import Connection

from taskgate_prefect import compat
from taskgate_prefect.approvals import progress
from taskgate_prefect.approvals.asking import Result
from taskgate_prefect.approvals.everything import ask_for_all
from taskgate_prefect.attempt_connections import ByAttempt
from taskgate_prefect.governed_connection import GovernedConnection
from taskgate_prefect.presentation import DOCUMENTATION_URL, LOGO_URL
from taskgate_prefect.run_attempt import RunAttempt, attempt_of, current_run
from taskgate_prefect.session_report import report

Parameters = dict[str, Any]
Row = Any


@dataclass(slots=True)
class _Open:
    """What one run attempt has open: an engine, and the results that fetch methods go on reading."""

    engine: Engine
    stack: ExitStack = field(default_factory=ExitStack)
    results: dict[str, CursorResult[Any]] = field(default_factory=dict)


def _abandon(_attempt: RunAttempt, held: _Open) -> None:
    """Nothing is committed: whoever wanted that would have closed the connector."""
    held.results.clear()
    held.stack = ExitStack()
    held.engine.dispose()


class GovernedSqlAlchemyConnector(GovernedConnection, SqlAlchemyConnector):  # type: ignore[misc]
    """
    SqlAlchemyConnector through a Taskgate gateway: the same methods, and no password.

    Each task run gets a credential of its own that ends with it. Every statement is judged by policy and recorded;
    where policy asks a human, the flow run is suspended or paused meanwhile, and the statement is executed once it is
    approved. A refusal that nobody will lift raises ApprovalRefused, one by policy the driver's error with the rule.

    A suspended run starts again from its top: what its finished tasks have returned is not computed again, everything
    before the refused statement is. Where that matters choose `approval_wait="pause"`.

    One block may be used by several task runs at a time; each has its own connections. `close` in a task closes that
    task's, in a flow's body the flow's and those of its tasks in the same process.

    Attributes:
        gateway: Where Taskgate is.
        target: Name of the database in the gateway's settings.
        driver: psycopg or psycopg2.
        connect_args: The options which will be passed directly to the DBAPI's connect() method as additional keyword
            arguments.
        fetch_size: The number of rows to fetch at a time.
        approval_wait: What happens while a human is asked.
        approval_timeout: Seconds after which nobody is waited for any more.

    Example:
        Swap the import, and a flow of prefect-sqlalchemy's is governed:
        ```python
        from prefect import flow, task
        from taskgate_prefect import GovernedSqlAlchemyConnector as SqlAlchemyConnector

        @task
        def delete_old_orders(day: str):
            with SqlAlchemyConnector.load("orders") as database:
                database.execute("DELETE FROM orders WHERE day = :day", parameters={"day": day})

        @flow
        def clean(day: str):
            delete_old_orders(day)
        ```

        Save one:
        ```python
        from taskgate_prefect import GovernedSqlAlchemyConnector, TaskgateGateway

        GovernedSqlAlchemyConnector(gateway=TaskgateGateway.load("taskgate"), target="orders-db").save("orders")
        ```

        Load stored connection and use in context manager:
        ```python
        from taskgate_prefect import GovernedSqlAlchemyConnector

        database_block = GovernedSqlAlchemyConnector.load("BLOCK_NAME")
        with database_block:
            rows = database_block.fetch_many("SELECT * FROM customers", size=2)
        ```
    """

    _block_type_name: ClassVar[str | None] = "Governed SQLAlchemy Connector"
    _block_type_slug: ClassVar[str | None] = "governed-sqlalchemy-connector"
    _logo_url = LOGO_URL
    _documentation_url = DOCUMENTATION_URL

    connection_info: ClassVar[None] = None  # the gateway's to know, and in no document
    driver: Literal["psycopg", "psycopg2"] = Field(
        default="psycopg", title="Driver", description="The installed driver for PostgreSQL to use."
    )

    _open: ByAttempt[_Open] = PrivateAttr(default_factory=lambda: ByAttempt(_abandon))

    def block_initialization(self) -> None:
        CredentialsBlock.block_initialization(self)

    def driver_name(self) -> str:
        return self.driver

    # --- what the stock connector hands out ---

    def get_engine(self, **create_engine_kwargs: Any) -> Engine:
        """An engine whose connections have this run attempt's credential; the same one each time. `options` of
        `connect_args` here are the block's own. A statement that needs a human raises the driver's error: wrap the code
        in `@approval_required` to wait and run it again."""
        running = current_run()
        progress.in_this_process.executed(attempt_of(running))  # what is done with it is not seen here
        return self._opened(running, create_engine_kwargs).engine

    def get_connection(self, begin: bool = True, **connect_kwargs: Any) -> Any:
        """A connection, or with `begin` a transaction, as a context manager. As `get_engine` otherwise."""
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

    def fetch_one(self, operation: str, parameters: Parameters | None = None, **execution_options: Any) -> Row:
        """The next row, None behind the last. Repeated calls with the same inputs go on in the same result until
        `reset_connections`. Raises ApprovalRefused, ApprovalPending."""
        return self._result(operation, parameters, execution_options).fetchone()

    def fetch_many(
        self, operation: str, parameters: Parameters | None = None, size: int | None = None, **execution_options: Any
    ) -> Any:
        """The next `size` rows (without it, `fetch_size`). Otherwise as `fetch_one`."""
        return self._result(operation, parameters, execution_options).fetchmany(size=size or self.fetch_size)

    def fetch_all(self, operation: str, parameters: Parameters | None = None, **execution_options: Any) -> Any:
        """All rows that are left. Otherwise as `fetch_one`."""
        return self._result(operation, parameters, execution_options).fetchall()

    def execute(
        self, operation: str, parameters: Parameters | None = None, **execution_options: Any
    ) -> CursorResult[Any]:
        """Executes and commits. Raises ApprovalRefused, ApprovalPending."""
        result = self._executed(
            lambda connection: connection.execute(text(operation), parameters, execution_options=execution_options)
        )
        self.logger.info("Executed one operation on %s.", self.target)
        return result

    def execute_many(
        self, operation: str, seq_of_parameters: Sequence[Parameters], **execution_options: Any
    ) -> CursorResult[Any]:
        """Executes all of them in one transaction. Where some need a human, all that do are asked for at once."""
        sets = list(seq_of_parameters)
        running = current_run()

        def run(connection: Connection) -> CursorResult[Any]:
            return connection.execute(text(operation), sets, execution_options=execution_options)

        def all_at_once(connection: Connection) -> CursorResult[Any]:
            try:
                return run(connection)
            except Exception as error:
                connection.rollback()
                with self.asking_session(running) as ask:
                    ask_for_all(error, lambda one: ask(operation, one), sets)
                raise

        result = self._executed(all_at_once if len(sets) > 1 else run)
        self.logger.info("Executed %d operations on %s.", len(sets), self.target)
        return result

    @contextmanager
    def asking_session(self, running: compat.RunningFlow) -> Iterator[Callable[[str, Parameters | None], None]]:
        """What has the gateway judge statements, of which none is carried out that would change anything. It raises the
        driver's error: with an approval's id where a human has to be asked, whether or not somebody has approved."""
        engine = self.governed_engine(running, self.logger, wait="ask").create(isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                yield lambda operation, parameters: connection.execute(text(operation), parameters).close()
        finally:
            engine.dispose()

    # --- ends ---

    def reset_connections(self) -> None:
        """Commit what fetch methods have executed, and let them execute anew."""
        for held in self._open.known_within(attempt_of(current_run())):
            _close_results(held)
        self.logger.info("Reset opened connections and their results.")

    def close(self) -> None:
        """Close this attempt's connections, and say in Prefect what the gateway made of its sessions."""
        running = compat.running_flow()
        if running is None:
            return
        taken = self._open.take(attempt_of(running))
        try:
            for _, held in taken:
                _close_results(held)
        finally:
            for _, held in taken:
                held.engine.dispose()
            if taken:
                report(self.gateway, [attempt for attempt, _ in taken], self.target, self.logger)

    def __getstate__(self) -> dict[Any, Any]:
        return BaseModel.__getstate__(self)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        BaseModel.__setstate__(self, state)

    # --- within ---

    def _opened(self, running: compat.RunningFlow, create_engine_kwargs: dict[str, Any] | None = None) -> _Open:
        log = self.logger
        return self._open.of(
            running, lambda: _Open(self.governed_engine(running, log).create(**(create_engine_kwargs or {})))
        )

    def _result(
        self, operation: str, parameters: Parameters | None, execution_options: dict[str, Any]
    ) -> CursorResult[Any]:
        asking = self.asking(self.logger)
        held = self._opened(asking.running)
        key = hash_objects(operation, parameters, execution_options)
        if key is None:
            raise ValueError("the parameters cannot be told from others: pass values that can be serialised")

        def run() -> CursorResult[Any]:
            with ExitStack() as stack:  # rolled back where it fails, kept open where not
                connection = stack.enter_context(held.engine.begin())
                result = connection.execute(text(operation), parameters, execution_options=execution_options)
                held.stack.push(stack.pop_all())
                return result

        if key not in held.results:
            held.results[key] = asking.execute(run, self.look(asking.running))
        return held.results[key]

    def _executed(self, statement: Callable[[Connection], Result]) -> Result:
        asking = self.asking(self.logger)
        held = self._opened(asking.running)

        def run() -> Result:
            with held.engine.connect() as connection:
                result = statement(connection)
                connection.commit()
                return result

        result = asking.execute(run, self.look(asking.running))
        progress.in_this_process.executed(attempt_of(asking.running))
        return result


def _close_results(held: _Open) -> None:
    for result in held.results.values():
        result.close()
    held.results.clear()
    held.stack.close()
