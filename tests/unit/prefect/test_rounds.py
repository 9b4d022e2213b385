from __future__ import annotations

import logging

import pytest

from taskgate.domain import ApprovalState
from taskgate.postgres_refusals import ApprovalPending
from taskgate_prefect.approvals.rounds import Rounds
from taskgate_prefect.faults import ApprovalLoop
from tests.unit.prefect.test_waiting import approval

_LOG = logging.getLogger("test")


def test_approved_and_still_refused_is_an_error() -> None:
    rounds = Rounds()
    rounds.asked(ApprovalPending(("apr_1",), "refused"), _LOG)
    rounds.approved((approval(ApprovalState.APPROVED),), _LOG)
    with pytest.raises(ApprovalLoop, match=r"still refused \(apr_1\)"):
        rounds.asked(ApprovalPending(("apr_2", "apr_1"), "refused"), _LOG)


def test_what_differs_each_time_ends_after_five_rounds() -> None:
    rounds = Rounds()
    for number in range(5):
        rounds.asked(ApprovalPending((f"apr_{number}",), "refused"), _LOG)
        rounds.approved((approval(ApprovalState.APPROVED, f"apr_{number}"),), _LOG)
    with pytest.raises(ApprovalLoop, match="5 times"):
        rounds.asked(ApprovalPending(("apr_9",), "refused"), _LOG)


def test_the_log_says_who(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    rounds = Rounds()
    rounds.asked(ApprovalPending(("apr_1",), "a rule wants a human"), _LOG)
    rounds.approved((approval(ApprovalState.APPROVED, decided_by="dana"),), _LOG)
    assert "A human has to approve: apr_1\na rule wants a human" in caplog.text
    assert "Approved by dana; executing again" in caplog.text
