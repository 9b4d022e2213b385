"""Wait for an approval that something else asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator

from taskgate.client import ServiceFault
from taskgate.domain import ApprovalState
from taskgate_airflow.configuration import GatewayAccess
from taskgate_airflow.decisions import require_approved
from taskgate_airflow.triggers import ApprovalTrigger


class ApprovalSensor(BaseSensorOperator):
    """Succeeds when the approval is given; fails without retries when it is denied, expires or is withdrawn.

    :param approval_id: the request's id (`apr_…`), templated.
    :param deferrable: wait in the triggerer (default) instead of a worker.

    The sensor's `timeout` bounds the wait either way. An approval is used by the task that asked for it: passing this
    sensor gives no other task the right to run the statement.
    """

    template_fields: Sequence[str] = ("approval_id",)

    def __init__(self, *, approval_id: str, deferrable: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approval_id = approval_id
        self.deferrable = deferrable

    def execute(self, context: Any) -> Any:
        if not self.deferrable:
            return super().execute(context)
        if not self.poke(context):
            self.defer(
                trigger=ApprovalTrigger(self.approval_id),
                method_name="execute_complete",
                timeout=timedelta(seconds=self.timeout),
            )
        return None

    def execute_complete(self, context: Any, event: Mapping[str, Any] | None = None) -> None:
        """Resumed by the trigger."""
        require_approved(event or {})

    def poke(self, context: Any) -> bool:
        """One look. A gateway that is away counts as not decided yet."""
        try:
            with GatewayAccess.from_airflow().client() as client:
                approval = client.approval(self.approval_id)
        except ServiceFault as error:
            self.log.warning("Taskgate cannot be asked about %s: %s", self.approval_id, error)
            return False
        if approval.state is ApprovalState.PENDING:
            return False
        require_approved(
            {
                "state": approval.state.value,
                "approval": approval.id,
                "decided_by": approval.decided_by,
                "comment": approval.comment,
            }
        )
        return True
