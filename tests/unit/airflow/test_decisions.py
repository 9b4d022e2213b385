from __future__ import annotations

import pytest

from taskgate_airflow.compat import AirflowFailException
from taskgate_airflow.decisions import require_approved


def test_an_approval_lets_the_task_go_on() -> None:
    require_approved({"state": "approved"})


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (
            {"state": "denied", "approval": "apr_1", "decided_by": "user:dana", "comment": "wrong month"},
            "Approval apr_1 was denied by user:dana: wrong month",
        ),
        ({"state": "expired", "approval": "apr_1"}, "expired before anybody decided"),
        ({"state": "withdrawn", "approval": "apr_1"}, "was withdrawn"),
        ({"state": "unknown", "approval": "apr_1", "comment": "no such"}, "not known to Taskgate"),
        ({}, "Approval None None"),
    ],
)
def test_anything_else_fails_without_retries(event: dict[str, str], says: str) -> None:
    with pytest.raises(AirflowFailException, match=says):
        require_approved(event)
