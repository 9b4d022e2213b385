"""SQL through the gateway that holds no worker while a human decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NoReturn

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

from taskgate.client import Approval
from taskgate.domain import ApprovalState
from taskgate_airflow import compat
from taskgate_airflow.compat import AirflowFailException, TaskDeferralTimeout
from taskgate_airflow.decisions import LookUp, as_task, page_in_airflow, require_approved
from taskgate_airflow.hooks import GovernedPostgresHook
from taskgate_airflow.refusals import ApprovalPending
from taskgate_airflow.triggers import ApprovalTrigger

_MOST_ROUNDS = 5


class GovernedSQLExecuteQueryOperator(SQLExecuteQueryOperator):
    """SQLExecuteQueryOperator that defers while a human is asked, and executes again once they approve.

    Takes everything the stock operator takes, for PostgreSQL connections that are mapped to a target.

    :param approval_timeout: fail the task (without retries) when nobody has decided after this long. Without it, when
        the request expires as the rule says.
    :param ask_in_airflow: ask on Airflow's own page as well (Required Actions), where the rule lets that decide
        (`channels: [airflow]`). The task then waits there, without a trigger. Airflow 3.3; not under `dag.test()`,
        where such a wait has no end.

    What is executed again must be what was approved, to the byte: a template that renders differently each time
    (`datetime.now()`) asks again each time and fails after five rounds. What makes the difference is the gateway's
    judgement at execution, never the event that resumed the task.
    """

    def __init__(
        self, *, approval_timeout: timedelta | float | None = None, ask_in_airflow: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.approval_timeout = approval_timeout
        self.ask_in_airflow = ask_in_airflow
        self._asked: tuple[str, ...] = ()
        self._round = 1
        self._may_park = ask_in_airflow

    @classmethod
    def get_hook(cls, conn_id: str, hook_params: dict[str, Any] | None = None) -> GovernedPostgresHook:
        return GovernedPostgresHook(postgres_conn_id=conn_id, **(hook_params or {}))

    def execute(self, context: Any) -> Any:
        self.get_db_hook().asked = self._asked
        try:
            return super().execute(context)  # type: ignore[no-untyped-call]
        except ApprovalPending as pending:
            self._wait(context, pending)

    def execute_approved(
        self, context: Any, event: Mapping[str, Any] | None = None, asked: list[str] | None = None, rounds: int = 1,
        waiting_for: list[str] | None = None,
    ) -> Any:  # fmt: skip
        """Resumed by the trigger. `asked`: every approval before; `rounds`: how often it was executed; `waiting_for`:
        what the trigger was to wait for."""
        event = event or {}
        if "state" not in event and waiting_for:
            # Airflow keeps a task's row over its tries: somebody has answered an earlier one's, which ends any trigger.
            return self.execute_answered(context, event, waiting_for, asked, rounds)
        approver = require_approved(event, self._look_up)
        self.log.info("Approved%s; executing again", f" by {approver}" if approver else "")
        # An instance has one row on Airflow's page, and it may have been answered: from here on triggers wait.
        self._asked, self._round, self._may_park = (*(asked or ()), *event.get("approvals", ())), rounds + 1, False
        return self.execute(context)  # all of it: what a subclass makes of the SQL before is made again

    def execute_answered(
        self, context: Any, event: Mapping[str, Any] | None = None, waiting_for: list[str] | None = None,
        asked: list[str] | None = None, rounds: int = 1,
    ) -> Any:  # fmt: skip
        """Resumed by an answer on Airflow's page, whoever gave it: what counts is what the gateway made of it."""
        if (event or {}).get("error_type") == "timeout":
            raise self._overdue(waiting_for)
        approvals = tuple(waiting_for or ())
        found = [self._look_up(one) for one in approvals]
        ended = [one for one in found if one is not None and one.state is not ApprovalState.PENDING]
        refused = next((one for one in ended if one.state is not ApprovalState.APPROVED), None)
        if refused or (ended and len(ended) == len(approvals)):
            return self.execute_approved(context, _as_event(refused or ended[-1], approvals), asked, rounds)
        # Not executed again to find out: where it was denied this very moment, that would ask once more.
        self.log.info("The answer on Airflow's page has not decided %s; waiting on", ", ".join(approvals))
        self._asked, self._round = tuple(asked or ()), rounds
        return self._defer(approvals)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout as error:
            raise self._overdue((next_kwargs or {}).get("waiting_for")) from error

    def _overdue(self, approvals: Sequence[str] | None) -> AirflowFailException:
        asked = f" on {', '.join(approvals)}" if approvals else ""
        return AirflowFailException(f"Nobody decided{asked} within {self._timeout()}")

    def _wait(self, context: Any, pending: ApprovalPending) -> None:
        """Raises what makes the task wait, or fail."""
        again = sorted(set(pending.approvals) & set(self._asked))
        if again:
            raise AirflowFailException(f"Approved, and still refused ({', '.join(again)}):\n{pending}") from None
        if self._round >= _MOST_ROUNDS:
            raise AirflowFailException(
                f"Asked for approval {self._round} times, and what runs differs from what was approved each time. "
                "Do the SQL or its parameters change with every rendering?"
            ) from None
        if self._asked:
            self.log.info(
                "Approved so far: %s. This asks for more: another statement, or the SQL, its parameters or the policy "
                "have changed since", ", ".join(self._asked),
            )  # fmt: skip
        self.log.info("Waiting for approval of %s\n%s", ", ".join(pending.approvals), pending)
        if self._may_park and len(pending.approvals) == 1:
            page = page_in_airflow(pending.approvals[0], lambda: self.get_db_hook().task_token())
            if page is not None:
                compat.park(
                    context["ti"].id, page.subject, page.body, page.options,
                    method_name="execute_answered", kwargs=self._carried(pending.approvals), timeout=self._timeout(),
                )  # fmt: skip
        self._defer(pending.approvals)

    def _defer(self, approvals: Sequence[str]) -> NoReturn:
        self.defer(
            trigger=ApprovalTrigger(approvals),
            method_name="execute_approved",
            kwargs=self._carried(approvals),
            timeout=self._timeout(),
        )

    def _carried(self, approvals: Sequence[str]) -> dict[str, Any]:
        return {"asked": list(self._asked), "rounds": self._round, "waiting_for": list(approvals)}

    @property
    def _look_up(self) -> LookUp:
        return as_task(lambda: self.get_db_hook().task_token())

    def _timeout(self) -> timedelta | None:
        if self.approval_timeout is None or isinstance(self.approval_timeout, timedelta):
            return self.approval_timeout
        return timedelta(seconds=self.approval_timeout)


def _as_event(found: Approval, approvals: Sequence[str]) -> dict[str, Any]:
    """As a trigger would say it, with who decided and why."""
    return {
        "state": found.state.value,
        "approval": found.id,
        "approvals": list(approvals),
        "decided_by": found.decided_by,
        "comment": found.comment,
    }
