"""Wait for an approval that something else asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseSensorOperator

from taskgate.client import Client, NotAuthenticated, NotFound, NotPermitted, ServiceFault
from taskgate.domain import ApprovalState
from taskgate_airflow.configuration import GatewayAccess, NotConfigured
from taskgate_airflow.decisions import by_key, require_approved
from taskgate_airflow.feed import UNKNOWN
from taskgate_airflow.triggers import ApprovalTrigger


class ApprovalSensor(BaseSensorOperator):
    """Succeeds when the approval is given; fails without retries when it is denied, expires, is withdrawn or unknown.

    :param approval_id: the request's id (`apr_…`), templated.
    :param deferrable: wait in the triggerer (default) instead of a worker.

    The sensor's `timeout` bounds the wait either way. An approval is used by the task that asked for it: passing this
    sensor gives no other task the right to run the statement.

    Deferred it needs nothing on the worker: the triggerer's key is enough. Where the worker has a key with the scope
    `approvals:read` it says who decided and why; waiting on a worker needs that or `approvals:watch`.
    """

    template_fields: Sequence[str] = ("approval_id",)

    def __init__(self, *, approval_id: str, deferrable: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approval_id = approval_id
        self.deferrable = deferrable

    def execute(self, context: Any) -> Any:
        if not self.deferrable:
            return super().execute(context)
        if not self._decided_already():
            self.defer(
                trigger=ApprovalTrigger(self.approval_id),
                method_name="execute_complete",
                timeout=timedelta(seconds=self.timeout),
            )
        return None

    def _decided_already(self) -> bool:
        """A worker without a key, or with one that may not ask, leaves it to the triggerer."""
        try:
            return self.poke({})
        except (NotConfigured, NotAuthenticated, NotPermitted) as error:
            self.log.info("This worker does not ask Taskgate itself (%s)", type(error).__name__)
            return False

    def execute_complete(self, context: Any, event: Mapping[str, Any] | None = None) -> None:
        """Resumed by the trigger."""
        self._say(require_approved(event or {}, by_key))

    def poke(self, context: Any) -> bool:
        """One look. A gateway that is away counts as not decided yet."""
        try:
            with GatewayAccess.from_airflow().client() as client:
                event = self._look(client)
        except ServiceFault as error:
            self.log.warning("Taskgate cannot be asked about %s: %s", self.approval_id, error)
            return False
        if event["state"] == ApprovalState.PENDING:
            return False
        self._say(require_approved({"approval": self.approval_id, "approvals": [self.approval_id], **event}))
        return True

    def _look(self, client: Client) -> dict[str, Any]:
        """With who decided and why, where the key may know that."""
        try:
            found = client.approval(self.approval_id)
        except NotFound:
            return {"state": UNKNOWN}
        except NotPermitted:
            states = client.approval_states([self.approval_id])
            return {"state": states.get(self.approval_id, UNKNOWN)}
        return {"state": found.state, "decided_by": found.decided_by, "comment": found.comment}

    def _say(self, approver: str | None) -> None:
        self.log.info("Approval %s was given%s", self.approval_id, f" by {approver}" if approver else "")
