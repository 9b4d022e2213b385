"""What a decision means for the task that waited for it, and who made it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from taskgate.client import Approval, ConnectionSettingsError, NotFound
from taskgate.client.models import AirflowPage
from taskgate.errors import TaskgateError
from taskgate_airflow import compat
from taskgate_airflow.compat import AirflowFailException
from taskgate_airflow.configuration import GatewayAccess, NotConfigured, task_client

log = structlog.get_logger(__name__)

LookUp = Callable[[str], Approval | None]
"""An approval by its id, as far as the task may see it; None where it may not, or nobody can be asked. Never raises."""

_SAID = {
    "denied": "was denied",
    "expired": "expired before anybody decided",
    "withdrawn": "was withdrawn",
    "unknown": "is not known to Taskgate",
}
_MOST_LOOKED_UP = 5


def require_approved(event: Mapping[str, Any], look_up: LookUp | None = None) -> str | None:
    """Says who approved, where that is to be had. Raises AirflowFailException, which is not retried, unless the event
    says approved: asking again unchanged would only ask the same human again. What the triggerer does not know (who,
    and why) is looked up; the task's end never hangs on that."""
    state = str(event.get("state"))
    if state == "approved":
        return _approvers(event, look_up)
    approval_id, by, why = event.get("approval"), event.get("decided_by"), event.get("comment")
    if by is None and why is None and look_up and approval_id and (found := look_up(str(approval_id))):
        by, why = found.decided_by, found.comment
    text = f"Approval {approval_id} {_SAID.get(state, state)}"
    raise AirflowFailException(text + (f" by {by}" if by else "") + (f": {why}" if why else ""))


def _approvers(event: Mapping[str, Any], look_up: LookUp | None) -> str | None:
    if event.get("decided_by"):
        return str(event["decided_by"])
    if look_up is None:
        return None
    names: dict[str, None] = {}
    for approval_id in list(event.get("approvals") or ())[:_MOST_LOOKED_UP]:
        if (found := look_up(str(approval_id))) is None:
            break  # nor would the next be had: nobody waits for that several times
        if found.decided_by:
            names[found.decided_by] = None
    return ", ".join(names) or None


def as_task(token: Callable[[], str]) -> LookUp:
    """By the task's own credential, which shows it what was asked for in its name. `token` may raise what it likes."""

    def look_up(approval_id: str) -> Approval | None:
        try:
            with task_client(token()) as client:
                return client.attempt_approval(approval_id)
        except Exception as error:  # noqa: BLE001  whatever it is, the decision is known and this only says more of it
            _not_told(approval_id, error)
            return None

    return look_up


def page_in_airflow(approval_id: str, token: Callable[[], str]) -> AirflowPage | None:
    """What the task's row on Airflow's own page has to hold for an answer there to count; None where the rule does not
    let that page decide, where it shows an earlier try's question, where this Airflow has none, or where the gateway
    cannot be asked: then it is waited for
    elsewhere. Never raises."""
    if not compat.can_park():
        log.warning("taskgate: this Airflow cannot wait on its own page for a human; waiting in the triggerer")
        return None
    try:
        with task_client(token()) as client:
            return client.attempt_airflow_page(approval_id)
    except NotFound:
        log.info(
            "taskgate: Airflow's page does not decide this: the rule does not let it, or the page still shows what an "
            "earlier try asked; waiting in the triggerer", approval=approval_id,
        )  # fmt: skip
    except Exception as error:  # noqa: BLE001  it can be decided in one place less
        log.warning("taskgate: Airflow's page cannot be used", approval=approval_id, reason=type(error).__name__)
    return None


def by_key(approval_id: str) -> Approval | None:
    """By this Airflow's service key, where the process has one and it may read approvals."""
    try:
        with GatewayAccess.from_airflow().client(timeout=5.0, tries=2) as client:
            return client.approval(approval_id)
    except (TaskgateError, NotConfigured, ConnectionSettingsError) as error:
        _not_told(approval_id, error)
        return None


def _not_told(approval_id: str, error: Exception) -> None:
    log.info("taskgate: who decided is not to be had", approval=approval_id, reason=type(error).__name__)
