"""A PostgresHook for connections that go through the gateway: a statement that needs a human is refused at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from airflow.providers.postgres.hooks.postgres import PostgresHook

from taskgate_airflow.compat import AirflowFailException
from taskgate_airflow.connection_form import CONNECTION_TYPE
from taskgate_airflow.lineage import report_statement, session_id
from taskgate_airflow.refusals import ApprovalPending, approval_id, refusal_text

_REFUSE = "-ctaskgate.wait=refuse"  # without a space: in a URI one is written `+` by SQLAlchemy and read so by nobody
_SAVEPOINT = "taskgate_statement"


class GovernedPostgresHook(PostgresHook):
    """Like PostgresHook, but a statement that needs a human raises ApprovalPending instead of waiting.

    Run the same thing again, from the same task of the same run, once it is approved: the gateway finds the grant.
    That holds for every method that runs SQL. A connection of your own (`get_conn`, `get_uri`, an engine) raises the
    driver's error instead, in which `taskgate_airflow.refusals.approval_id` finds the approval.

    Several statements in one transaction are tried to the end before ApprovalPending is raised, each in a savepoint,
    so that a human is asked for all of them at once; then everything is rolled back. Grants are for one use: stopping
    at the first would use up those given for earlier statements in every round. A statement that fails because an
    earlier one was refused ends the search.

    With autocommit, several statements are refused (AirflowFailException): those before a refused one would already be
    committed, and running again would run them twice. `insert_rows` fails so once it has committed a chunk.

    :param asked: approvals that a human gave for what runs now; they are attached to Airflow's hook lineage.
    """

    conn_type = CONNECTION_TYPE
    hook_name = "PostgreSQL through Taskgate"
    default_conn_name = "governed_postgres_default"
    # Not libpq's: the first would break it, the others would lead around the gateway.
    ignored_extra_options = PostgresHook.ignored_extra_options | {"target", "host", "port"}

    def __init__(self, *args: Any, asked: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked = tuple(asked)
        self.sessions: list[str] = []
        """Ids of the gateway's sessions that this hook has opened, oldest first."""
        self._pending: list[ApprovalPending] = []
        self._left = 1  # statements of this run that have not been tried yet
        self._several = False
        self._chunks = 0  # of insert_rows, begun

    @property
    def schema(self) -> str | None:
        """The database. BaseSQLOperator sets its `database` here for hooks of any type but `postgres`."""
        return self.database

    @schema.setter
    def schema(self, database: str | None) -> None:
        self.database = database

    def task_token(self) -> str:
        """What proves this task to the gateway's control API: its own credential as a bearer token. Raises
        AirflowFailException where the connection is not the gateway's."""
        connection = self.connection
        return f"{connection.login}.{connection.password}"

    @property  # type: ignore[misc]  # read-only here: nothing of Airflow sets it
    def connection(self) -> Any:
        """The connection with the gateway's startup option. Raises AirflowFailException where it is not the gateway's:
        a direct PostgreSQL takes the option and governs nothing."""
        connection = deepcopy(super().connection)
        if connection.conn_type == CONNECTION_TYPE:
            raise AirflowFailException(
                f"Connection {self.get_conn_id()!r} names a Taskgate target and holds no credential, and nothing here "
                "hands tasks one: configure Taskgate's secrets backend (docs/airflow.md)."
            )
        if connection.conn_type != "postgres" or not (connection.login or "").startswith("tg_"):
            raise AirflowFailException(
                f"Connection {self.get_conn_id()!r} does not go through Taskgate: map it to a target in the secrets "
                "backend's arguments, or use the stock operator."
            )
        extra = dict(connection.extra_dejson)
        extra["options"] = " ".join(part for part in (extra.get("options") or self.options, _REFUSE) if part)
        connection.extra = json.dumps(extra)
        return connection

    @property
    def sqlalchemy_url(self) -> Any:
        """As PostgresHook's, with what the connection says of TLS and the gateway's startup option: PostgresHook
        leaves all but `sqlalchemy_query` out, and a URL without `sslmode` does not verify whom it talks to."""
        extra = self.connection.extra_dejson
        libpq = {name: str(value) for name, value in extra.items() if name not in self.ignored_extra_options}
        return super().sqlalchemy_url.update_query_dict(libpq)

    def get_sqlalchemy_engine(self, engine_kwargs: dict[str, Any] | None = None) -> Any:
        """As PostgresHook's. `options` in `connect_args` are added to the gateway's startup option."""
        from sqlalchemy import event

        given = dict(engine_kwargs or {})
        arguments = dict(given.get("connect_args", {}))
        if "options" in arguments:
            given["connect_args"] = {**arguments, "options": f"{arguments['options']} {_REFUSE}"}
        engine = super().get_sqlalchemy_engine(given)
        event.listen(engine, "connect", lambda connection, _: self._opened(connection))
        return engine

    def get_conn(self) -> Any:
        connection = super().get_conn()
        self._opened(connection)
        return connection

    def _opened(self, connection: Any) -> None:
        if opened := session_id(connection):
            self.sessions.append(opened)

    def test_connection(self) -> Any:
        """Airflow's connection test, with the operator's probe key (see `probe.py`)."""
        from taskgate_airflow.probe import run_connection_test

        return run_connection_test(self.get_conn_id())

    # --- statements ---

    def run(
        self,
        sql: str | Iterable[str],
        autocommit: bool = False,
        parameters: Iterable[Any] | Mapping[str, Any] | None = None,
        handler: Callable[[Any], Any] | None = None,
        split_statements: bool = False,
        return_last: bool = True,
    ) -> Any:
        """As DbApiHook.run. Raises ApprovalPending once every statement was tried; nothing was committed then."""
        if not isinstance(sql, str):
            sql = list(sql)
            self._left = len(sql)
        else:
            self._left = len(self.split_sql_string(sql)) if split_statements else 1
        self._pending = []
        self._several = self._left > 1
        if autocommit and self._several:
            raise AirflowFailException(
                "autocommit=True with several statements cannot wait for approvals: what ran before a refused "
                "statement is committed and would run twice. Use one task a statement, or autocommit=False."
            )
        return super().run(
            sql,
            autocommit=autocommit,
            parameters=parameters,
            handler=None if handler is None else self._unless_refused(handler),
            split_statements=split_statements,
            return_last=return_last,
        )

    def _unless_refused(self, handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda cursor: None if self._pending else handler(cursor)

    def _run_command(self, cur: Any, sql_statement: str, parameters: Any) -> None:
        self._left -= 1
        if self._several:
            _beside(cur, f"SAVEPOINT {_SAVEPOINT}")
        try:
            super()._run_command(cur, sql_statement, parameters)
        except Exception as error:
            self._report(sql_statement, error)
            approval = approval_id(error)
            if approval is not None:
                self._pending.append(ApprovalPending((approval,), refusal_text(error)))
            elif self._pending:
                raise self._all_pending() from error  # it may only have failed for want of what was refused
            else:
                raise
            if self._left > 0:
                _beside(cur, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        else:
            self._report(sql_statement)
        if self._pending and self._left <= 0:
            raise self._all_pending()

    def _all_pending(self) -> ApprovalPending:
        approvals = tuple(dict.fromkeys(approval for one in self._pending for approval in one.approvals))
        return ApprovalPending(approvals, "\n".join(str(one) for one in self._pending))

    # --- what does not go through `run` ---

    def copy_expert(self, sql: str, filename: str) -> None:
        """As PostgresHook's. What a COPY FROM streams is outside any approval: policy refuses it unless the rule says
        `streams: allow`. A refused COPY TO leaves an empty file, as a failed one does."""
        with self._asking(sql):
            super().copy_expert(sql, filename)

    def get_df(self, sql: Any, parameters: Any = None, **kwargs: Any) -> Any:
        """As PostgresHook's."""
        with self._asking(sql):
            return super().get_df(sql, parameters, **kwargs)

    def get_df_by_chunks(self, sql: Any, parameters: Any = None, **kwargs: Any) -> Generator[Any, None, None]:
        """As PostgresHook's. Asks when the first chunk is read."""
        with self._asking(sql):
            yield from super().get_df_by_chunks(sql, parameters, **kwargs)

    def insert_rows(self, table: Any, rows: Any, *args: Any, autocommit: bool = False, **kwargs: Any) -> None:
        """As PostgresHook's. Raises ApprovalPending while nothing is committed, afterwards AirflowFailException."""
        self._chunks = 0
        try:
            with self._asking(f"INSERT INTO {table}"):
                super().insert_rows(table, rows, *args, autocommit=autocommit, **kwargs)  # type: ignore[no-untyped-call]
        except ApprovalPending as pending:
            if autocommit or self._chunks > 1:
                raise AirflowFailException(
                    f"Rows inserted before are committed and would be inserted twice by running again:\n{pending}"
                ) from None
            raise

    def _generate_insert_sql(self, *args: Any, **kwargs: Any) -> Any:
        self._chunks += 1  # called once a chunk, and each chunk is committed before the next begins
        return super()._generate_insert_sql(*args, **kwargs)

    @contextmanager
    def _asking(self, sql: Any) -> Iterator[None]:
        """A refusal that waits for a human is ApprovalPending, whatever the driver or SQLAlchemy made of it."""
        try:
            yield
        except Exception as error:
            self._report(sql, error)
            if (approval := approval_id(error)) is not None:
                raise ApprovalPending((approval,), refusal_text(error)) from error
            raise
        self._report(sql)

    def _report(self, sql: Any, error: Exception | None = None) -> None:
        session = self.sessions[-1] if self.sessions else None
        report_statement(self, sql, session=session, asked=self.asked, error=error)


def _beside(cur: Any, statement: str) -> None:
    """On a cursor of its own: the handler still has to read the result of the statement before."""
    with cur.connection.cursor() as side:
        side.execute(statement)
