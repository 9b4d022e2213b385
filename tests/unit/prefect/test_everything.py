from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from taskgate.postgres_refusals import ApprovalPending
from taskgate_prefect.approvals.everything import aask_for_all, ask_for_all
from taskgate_prefect.faults import ApprovalLoop


def refusal(detail: str, sqlstate: str = "42501") -> Exception:
    error = Exception("refused")
    error.diag = SimpleNamespace(  # type: ignore[attr-defined]
        sqlstate=sqlstate, message_primary="refused", message_detail=detail, message_hint=None
    )
    return error


def asking(one: Any) -> None:
    """Even ones need a human, 5 fails, others run."""
    if one == 5:
        raise refusal("", "22012")
    if one % 2 == 0:
        raise refusal(f"approval=apr_{one}")
    raise refusal("verdict=allow\nsession=ses_1")


def test_all_that_need_a_human_are_named() -> None:
    first = refusal("approval=apr_2")
    with pytest.raises(ApprovalPending) as pending:
        ask_for_all(first, asking, [1, 2, 3, 4, 4])
    assert pending.value.approvals == ("apr_2", "apr_4")
    assert pending.value.__cause__ is first


async def test_asynchronously_too() -> None:
    async def ask(one: Any) -> None:
        asking(one)

    with pytest.raises(ApprovalPending) as pending:
        await aask_for_all(refusal("approval=apr_2"), ask, [2, 3])
    assert pending.value.approvals == ("apr_2",)


def test_what_waits_for_nobody_is_not_asked_about() -> None:
    def ask(one: Any) -> None:
        raise AssertionError("it must not be asked")

    ask_for_all(refusal("", "23505"), ask, [1, 2])


def test_what_goes_wrong_while_asking_is_raised() -> None:
    with pytest.raises(Exception, match="refused") as raised:
        ask_for_all(refusal("approval=apr_2"), asking, [2, 5])
    assert not isinstance(raised.value, ApprovalPending)


def test_nobody_is_asked_hundreds_of_times() -> None:
    with pytest.raises(ApprovalLoop, match="More than 100"):
        ask_for_all(refusal("approval=apr_2"), asking, range(0, 1000, 2))
