from __future__ import annotations

from types import SimpleNamespace

import pytest

from taskgate_airflow.refusals import approval_id, refusal_text

_ID = "apr_0197c0de-0000-7000-8000-000000000001"


def _error(sqlstate: str = "42501", detail: str | None = f"rule=r\napproval={_ID}\nstate=pending") -> Exception:
    error = Exception("refused")
    error.diag = SimpleNamespace(  # type: ignore[attr-defined]
        sqlstate=sqlstate,
        message_primary="taskgate: rule r wants a human",
        message_detail=detail,
        message_hint="Ask an approver.",
    )
    return error


def test_the_id_stands_on_a_line_of_the_detail() -> None:
    assert approval_id(_error()) == _ID


@pytest.mark.parametrize(
    "error",
    [
        _error(detail=None),
        _error(detail="rule=r\nsession=ses_1"),
        _error(detail=f"see approval={_ID} or not"),
        _error(detail="approval=ses_1"),
        _error(sqlstate="23505"),
        Exception("no diagnostics"),
        ConnectionError("gone"),
    ],
)
def test_other_errors_hold_none(error: Exception) -> None:
    assert approval_id(error) is None


def test_people_read_message_detail_and_hint() -> None:
    assert refusal_text(_error(detail="rule=r")) == "taskgate: rule r wants a human\nrule=r\nAsk an approver."
    assert refusal_text(ValueError("plain")) == "plain"
