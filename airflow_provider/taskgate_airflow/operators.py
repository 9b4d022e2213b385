"""SQL through the gateway that holds no worker while a human decides."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

from taskgate_airflow.compat import AirflowFailException, TaskDeferralTimeout
from taskgate_airflow.decisions import as_task, require_approved
from taskgate_airflow.hooks import GovernedPostgresHook
from taskgate_airflow.refusals import ApprovalPending
from taskgate_airflow.triggers import ApprovalTrigger

_MOST_ROUNDS = 5


class GovernedSQLExecuteQueryOperator(SQLExecuteQueryOperator):
    """SQLExecuteQueryOperator that defers while a human is asked, and executes again once they approve.

    Takes everything the stock operator takes, for PostgreSQL connections that are mapped to a target.

    :param approval_timeout: fail the task (without retries) when nobody has decided after this long. Without it, when
        the request expires as the rule says.

    What is executed again must be what was approved, to the byte: a template that renders differently each time
    (`datetime.now()`) asks again each time and fails after five rounds. What makes the difference is the gateway's
    judgement at execution, never the event that resumed the task.
    """

    def __init__(self, *, approval_timeout: timedelta | float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approval_timeout = approval_timeout
        self._asked: tuple[str, ...] = ()
        self._round = 1

    @classmethod
    def get_hook(cls, conn_id: str, hook_params: dict[str, Any] | None = None) -> GovernedPostgresHook:
        return GovernedPostgresHook(postgres_conn_id=conn_id, **(hook_params or {}))

    def execute(self, context: Any) -> Any:
        return self._execute(context, asked=self._asked, rounds=self._round)

    def execute_approved(
        self, context: Any, event: Mapping[str, Any] | None = None, asked: list[str] | None = None, rounds: int = 1
    ) -> Any:
        """Resumed by the trigger. `asked`: every approval so far; `rounds`: how often it was executed."""
        event = event or {}
        approver = require_approved(event, as_task(lambda: self.get_db_hook().task_token()))
        self.log.info("Approved%s; executing again", f" by {approver}" if approver else "")
        self._asked, self._round = (*(asked or ()), *event.get("approvals", ())), rounds + 1
        return self.execute(context)  # all of it: what a subclass makes of the SQL before is made again

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout as error:
            raise AirflowFailException(f"Nobody decided within {self.approval_timeout}") from error

    def _execute(self, context: Any, *, asked: tuple[str, ...], rounds: int) -> Any:
        self.get_db_hook().asked = asked
        try:
            return super().execute(context)  # type: ignore[no-untyped-call]
        except ApprovalPending as pending:
            again = sorted(set(pending.approvals) & set(asked))
            if again:
                raise AirflowFailException(f"Approved, and still refused ({', '.join(again)}):\n{pending}") from None
            if rounds >= _MOST_ROUNDS:
                raise AirflowFailException(
                    f"Asked for approval {rounds} times, and what runs differs from what was approved each time. "
                    "Do the SQL or its parameters change with every rendering?"
                ) from None
            self.log.info("Waiting for approval of %s\n%s", ", ".join(pending.approvals), pending)
            self.defer(
                trigger=ApprovalTrigger(pending.approvals),
                method_name="execute_approved",
                kwargs={"asked": list(asked), "rounds": rounds},
                timeout=self._timeout(),
            )

    def _timeout(self) -> timedelta | None:
        if self.approval_timeout is None or isinstance(self.approval_timeout, timedelta):
            return self.approval_timeout
        return timedelta(seconds=self.approval_timeout)
