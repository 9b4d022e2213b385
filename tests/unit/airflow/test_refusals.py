from __future__ import annotations

from types import SimpleNamespace

import pytest

from taskgate_airflow.refusals import approval_id, refusal_text, session_in

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


def test_what_wraps_a_refusal_is_one() -> None:
    wrapped = ValueError("of pandas")
    wrapped.__cause__ = RuntimeError("of SQLAlchemy")
    wrapped.__cause__.orig = _error(detail=f"session=ses_1\napproval={_ID}")  # type: ignore[attr-defined]
    assert approval_id(wrapped) == _ID
    assert session_in(wrapped) == "ses_1"
    assert refusal_text(wrapped).startswith("taskgate: rule r wants a human")


def test_what_fails_while_a_refusal_is_handled_is_none() -> None:
    other = ValueError("of the task's own")
    other.__context__ = _error()
    assert approval_id(other) is None


def test_errors_that_cause_each_other_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert approval_id(one) is None
