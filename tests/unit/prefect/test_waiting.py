"""The rules of waiting, step by step, as a conversation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.states import Cancelled, Cancelling, Completed, Paused, Running, Suspended

from taskgate.client.models import Approval, ApprovalTerms, Principal
from taskgate.domain import ApprovalState, Assurance, PrincipalKind
from taskgate_prefect.approvals.waiting import (
    Leave,
    Look,
    Manner,
    PauseRun,
    ResumeRun,
    SeeRun,
    Sleep,
    Waiting,
    until_approved,
)
from taskgate_prefect.faults import ApprovalRefused, ApprovalTimeout, RunEnded

_ASKED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def approval(state: ApprovalState = ApprovalState.PENDING, name: str = "apr_1", **fields: Any) -> Approval:
    return Approval(
        **{
            "id": name,
            "state": state,
            "principal": Principal(
                kind=PrincipalKind.TASK, name="f.t", source="p", assurance=Assurance.ASSERTED, verified_by="key"
            ),
            "target": "orders-db",
            "session_id": "ses_1",
            "text": "DELETE FROM orders WHERE email = 'a@example.org'",
            "pairs": ["sql.delete public.orders"],
            "rules": ["humans-decide"],
            "terms": ApprovalTerms(approvers=["group:dba"], hold=1, hold_in_transaction=1, expires=60, uses=1),
            "policy_version": "v",
            "requested_at": _ASKED_AT,
            "expires_at": _ASKED_AT + timedelta(minutes=10),
            "digest": "d",
            "owner_key": "o",
            **fields,
        }
    )


class Talk:
    """Answers a wait's steps; `at` is its clock."""

    def __init__(self, manner: Manner = Manner.PAUSE, limit: float | None = None, ids: tuple[str, ...] = ("apr_1",)):
        self.at = 0.0
        self.waiting: Waiting = until_approved(ids, manner, limit, lambda: self.at)
        self.step: Any = next(self.waiting)

    def answer(self, answer: Any = None) -> Any:
        self.step = self.waiting.send(answer)
        return self.step

    def ends(self, answer: Any = None) -> tuple[Approval, ...]:
        with pytest.raises(StopIteration) as over:
            self.waiting.send(answer)
        given: tuple[Approval, ...] = over.value.value
        return given


def test_what_is_approved_already_is_not_waited_for() -> None:
    talk = Talk()
    assert talk.step == Look("apr_1")
    given = approval(ApprovalState.APPROVED)
    assert talk.ends(given) == (given,)


def test_a_pending_one_pauses_the_run_and_is_looked_at_again_at_once() -> None:
    talk = Talk()
    assert talk.answer(approval()) == SeeRun()
    pause = talk.answer(Running())
    assert isinstance(pause, PauseRun)
    assert pause.key.startswith("apr_1-")
    assert not pause.suspended
    assert pause.seconds == 660, "the request's lifetime, and a minute in which our own words come first"
    assert talk.answer(Paused()) == Look("apr_1")
    resume = talk.answer(approval(ApprovalState.APPROVED))
    assert resume == ResumeRun(pause.key, "apr_1", "approved")
    assert len(talk.ends()) == 1


def test_a_paused_run_is_looked_at_again_and_again_less_and_less_often() -> None:
    talk = Talk()
    talk.answer(approval())
    talk.answer(Running())
    talk.answer(Paused())
    sleeps = []
    for _ in range(9):
        assert talk.step == Look("apr_1")
        assert talk.answer(approval()) == SeeRun()
        sleep = talk.answer(Paused())
        assert isinstance(sleep, Sleep)
        sleeps.append(sleep.seconds)
        talk.answer()
    assert sleeps == sorted(sleeps)
    assert sleeps[0] == 0.5
    assert sleeps[-1] == 5.0


def test_resumed_by_hand_it_is_paused_again_under_another_key() -> None:
    talk = Talk()
    talk.answer(approval())
    first = talk.answer(Running())
    talk.answer(Paused())
    talk.answer(approval())
    second = talk.answer(Running())
    assert isinstance(second, PauseRun)
    assert second.key != first.key


def test_where_prefect_does_not_let_it_pause_the_gateway_is_asked() -> None:
    talk = Talk()
    talk.answer(approval())
    assert isinstance(talk.answer(Running()), PauseRun)
    assert isinstance(talk.answer(None), Sleep)
    assert talk.answer() == Look("apr_1")
    assert len(talk.ends(approval(ApprovalState.APPROVED))) == 1, "it is another's pause: nobody's to resume here"


@pytest.mark.parametrize("state", [ApprovalState.DENIED, ApprovalState.EXPIRED, ApprovalState.WITHDRAWN])
def test_a_no_resumes_the_run_and_says_who_and_why(state: ApprovalState) -> None:
    talk = Talk()
    talk.answer(approval())
    talk.answer(Running())
    talk.answer(Paused())
    resume = talk.answer(approval(state, decided_by="dana", comment="not\ntoday"))
    assert resume == ResumeRun(resume.key, "apr_1", state.value)
    if state is ApprovalState.WITHDRAWN:
        assert talk.answer() == SeeRun()
    with pytest.raises(ApprovalRefused, match=r"apr_1 .*by dana: not\\ntoday; nothing has run"):
        talk.answer()


def test_all_are_waited_for_one_after_another() -> None:
    talk = Talk(ids=("apr_1", "apr_2", "apr_1"))
    one, two = approval(ApprovalState.APPROVED), approval(ApprovalState.APPROVED, "apr_2")
    assert talk.answer(one) == Look("apr_2")
    assert talk.ends(two) == (one, two)


def test_the_limit_ends_the_wait_and_the_pause() -> None:
    talk = Talk(limit=30)
    talk.answer(approval())
    pause = talk.answer(Running())
    assert pause.seconds == 90
    talk.answer(Paused())
    talk.at = 29.9
    talk.answer(approval())
    sleep = talk.answer(Paused())
    assert sleep.seconds == pytest.approx(0.1)
    talk.at = 30.0
    talk.answer()
    assert talk.answer(approval()) == ResumeRun(pause.key, "apr_1", "look again")
    with pytest.raises(ApprovalTimeout, match="within 30 s; nothing has run"):
        talk.answer()


def test_a_run_that_is_over_does_not_wait() -> None:
    talk = Talk()
    talk.answer(approval())
    with pytest.raises(RunEnded, match="Completed"):
        talk.answer(Completed())


@pytest.mark.parametrize("state", [Cancelling(), Cancelled()])
def test_a_run_that_is_cancelled_is_left_as_that(state: Any) -> None:
    talk = Talk()
    talk.answer(approval())
    assert talk.answer(state) == Leave(state)
    talk = Talk()
    assert talk.answer(approval(ApprovalState.WITHDRAWN)) == SeeRun()
    assert talk.answer(state) == Leave(state)


def test_while_both_are_away_it_waits_on() -> None:
    talk = Talk()
    assert talk.answer(None) == SeeRun()
    assert isinstance(talk.answer(None), Sleep)
    assert talk.answer() == Look("apr_1")
    talk.answer(approval())
    assert isinstance(talk.answer(None), Sleep)


def test_a_suspended_run_is_left() -> None:
    talk = Talk(Manner.SUSPEND)
    talk.answer(approval())
    pause = talk.answer(Running())
    assert pause.suspended
    suspended = Suspended()
    assert talk.answer(suspended) == Look("apr_1")
    assert talk.answer(approval()) == Leave(suspended)


def test_decided_on_the_way_into_the_suspension_it_is_resumed_before_it_is_left() -> None:
    talk = Talk(Manner.SUSPEND)
    talk.answer(approval())
    pause = talk.answer(Running())
    suspended = Suspended()
    talk.answer(suspended)
    assert talk.answer(approval(ApprovalState.DENIED)) == ResumeRun(pause.key, "apr_1", "denied")
    assert talk.answer() == Leave(suspended)


def test_a_run_that_another_task_has_suspended_is_left_too() -> None:
    talk = Talk(Manner.SUSPEND)
    talk.answer(approval())
    suspended = Suspended()
    assert talk.answer(suspended) == Leave(suspended)


def test_who_may_not_leave_stays_in_a_suspended_run() -> None:
    talk = Talk(Manner.PAUSE)
    talk.answer(approval())
    assert isinstance(talk.answer(Suspended()), Sleep)
