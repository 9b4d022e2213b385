"""What a decision means for the task that waited for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskgate_airflow.compat import AirflowFailException

_SAID = {
    "denied": "was denied",
    "expired": "expired before anybody decided",
    "withdrawn": "was withdrawn",
    "unknown": "is not known to Taskgate, or not visible to this Airflow's key",
}


def require_approved(event: Mapping[str, Any]) -> None:
    """Raises AirflowFailException, which is not retried, unless the event says approved: asking again unchanged would
    only ask the same human again."""
    state = str(event.get("state"))
    if state == "approved":
        return
    text = f"Approval {event.get('approval')} {_SAID.get(state, state)}"
    if event.get("decided_by"):
        text += f" by {event['decided_by']}"
    if event.get("comment"):
        text += f": {event['comment']}"
    raise AirflowFailException(text)
