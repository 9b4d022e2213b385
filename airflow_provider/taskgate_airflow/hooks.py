"""A PostgresHook for connections that go through the gateway: a statement that needs a human is refused at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

from airflow.providers.postgres.hooks.postgres import PostgresHook

from taskgate_airflow.compat import AirflowFailException
from taskgate_airflow.refusals import ApprovalPending, approval_id, refusal_text

_REFUSE = "-c taskgate.wait=refuse"
_SAVEPOINT = "taskgate_statement"


class GovernedPostgresHook(PostgresHook):
    """Like PostgresHook, but a statement that needs a human raises ApprovalPending instead of waiting.

    Run the same thing again, from the same task of the same run, once it is approved: the gateway finds the grant.

    Several statements in one transaction are tried to the end before ApprovalPending is raised, each in a savepoint,
    so that a human is asked for all of them at once; then everything is rolled back. Grants are for one use: stopping
    at the first would use up those given for earlier statements in every round. A statement that fails because an
    earlier one was refused ends the search.

    With autocommit, several statements are refused (AirflowFailException): those before a refused one would already be
    committed, and running again would run them twice.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pending: list[ApprovalPending] = []
        self._left = 1  # statements of this run that have not been tried yet
        self._several = False

    @property  # type: ignore[misc]  # read-only here: nothing of Airflow sets it
    def connection(self) -> Any:
        """The connection with the gateway's startup option. Raises AirflowFailException where it is not the gateway's:
        a direct PostgreSQL takes the option and governs nothing."""
        connection = deepcopy(super().connection)
        if connection.conn_type != "postgres" or not (connection.login or "").startswith("tg_"):
            raise AirflowFailException(
                f"Connection {self.get_conn_id()!r} does not go through Taskgate: map it to a target in "
                "[workers] secrets_backend_kwargs, or use the stock operator."
            )
        extra = dict(connection.extra_dejson)
        extra["options"] = " ".join(part for part in (extra.get("options") or self.options, _REFUSE) if part)
        connection.extra = json.dumps(extra)
        return connection

    def task_token(self) -> str:
        """What proves this task to the gateway's control API: its own credential as a bearer token. Raises
        AirflowFailException where the connection is not the gateway's."""
        connection = self.connection
        return f"{connection.login}.{connection.password}"

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

    def get_sqlalchemy_engine(self, engine_kwargs: dict[str, Any] | None = None) -> Any:
        """As PostgresHook's (data frames), with the gateway's startup option."""
        given = dict(engine_kwargs or {})
        options = self.connection.extra_dejson["options"]
        given["connect_args"] = {**given.get("connect_args", {}), "options": options}
        return super().get_sqlalchemy_engine(given)

    def _run_command(self, cur: Any, sql_statement: str, parameters: Any) -> None:
        self._left -= 1
        if self._several:
            _beside(cur, f"SAVEPOINT {_SAVEPOINT}")
        try:
            super()._run_command(cur, sql_statement, parameters)
        except Exception as error:
            approval = approval_id(error)
            if approval is not None:
                self._pending.append(ApprovalPending((approval,), refusal_text(error)))
            elif self._pending:
                raise self._all_pending() from error  # it may only have failed for want of what was refused
            else:
                raise
            if self._left > 0:
                _beside(cur, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        if self._pending and self._left <= 0:
            raise self._all_pending()

    def _all_pending(self) -> ApprovalPending:
        approvals = tuple(dict.fromkeys(approval for one in self._pending for approval in one.approvals))
        return ApprovalPending(approvals, "\n".join(str(one) for one in self._pending))


def _beside(cur: Any, statement: str) -> None:
    """On a cursor of its own: the handler still has to read the result of the statement before."""
    with cur.connection.cursor() as side:
        side.execute(statement)
