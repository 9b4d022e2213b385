from __future__ import annotations

import pickle
from types import SimpleNamespace

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from taskgate.postgres_refusals import (
    ApprovalPending,
    allowed_unasked,
    approval_id,
    refusal_text,
    refusals_in,
    session_in,
)

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


def _asyncpg_error(detail: str) -> Exception:
    fields = {"S": "ERROR", "C": "42501", "M": "taskgate: rule r wants a human", "D": detail, "H": "Ask an approver."}
    error: Exception = asyncpg.exceptions.PostgresError.new(fields)
    return error


def test_asyncpg_is_read_through_what_sqlalchemy_puts_around_it() -> None:
    cause = _asyncpg_error(f"rule=r\napproval={_ID}\nsession=ses_1")
    adapted = Exception("<class 'asyncpg…'>: refused")
    adapted.sqlstate, adapted.detail = "42501", "as adapted"  # type: ignore[attr-defined]
    adapted.__cause__ = cause
    wrapped = DBAPIError("DELETE", {}, adapted)
    assert approval_id(wrapped) == _ID
    assert session_in(wrapped) == "ses_1"
    assert refusal_text(wrapped).splitlines()[0] == "taskgate: rule r wants a human"
    assert refusals_in(wrapped)[0].text == "rule r wants a human. Ask an approver."


@pytest.mark.parametrize(
    ("error", "allowed"),
    [
        (_error(detail="session=ses_1\nverdict=allow"), True),
        (_asyncpg_error("session=ses_1\nverdict=allow"), True),
        (_error(detail="verdict=allow"), False),
        (_error(detail="session=ses_1\nrule=verdict=allow"), False),
        (_error(sqlstate="23505", detail="session=ses_1\nverdict=allow"), False),
        (Exception("no diagnostics"), False),
    ],
)
def test_what_needs_nobody_is_told_apart(error: Exception, allowed: bool) -> None:
    assert allowed_unasked(error) is allowed


def test_pending_survives_a_process_boundary() -> None:
    again = pickle.loads(pickle.dumps(ApprovalPending((_ID,), "refused")))
    assert again.approvals == (_ID,)
    assert str(again) == "refused"
