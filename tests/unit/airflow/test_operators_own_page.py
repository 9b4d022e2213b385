"""A governed operator that asks on Airflow's own page: what it writes there, and what an answer means to it."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from taskgate.client import Approval
from taskgate.client.models import AirflowPage
from taskgate_airflow import compat, operators
from taskgate_airflow.compat import AirflowFailException
from taskgate_airflow.operators import GovernedSQLExecuteQueryOperator
from tests.e2e.control_api_stand_in import ControlApi
from tests.unit.airflow.test_operators import _deferral, _Hook, _operator

PAGE = AirflowPage(subject="Taskgate: sql.delete", body="Exactly this will run", options=["Approve", "Deny"])
ANSWER = {"chosen_options": ["Approve"], "params_input": {}, "responded_by_user": {"id": "bob", "name": "bob"}}


class Parked(BaseException):
    """As Airflow's own: nothing that handles exceptions stops it."""


class Gateway:
    """What the gateway says to the operator. `page` None: Airflow's page does not decide."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, page: AirflowPage | None = PAGE) -> None:
        self.api = ControlApi()
        self.away = False
        self.parked: dict[str, Any] = {}

        def park(instance_id: Any, *shown: Any, **how: Any) -> Any:
            self.parked = {"instance": instance_id, "shown": shown, **how}
            raise Parked

        monkeypatch.setattr(compat, "park", park)
        monkeypatch.setattr(operators, "page_in_airflow", lambda approval_id, token: page)
        monkeypatch.setattr(operators, "as_task", lambda token: self.look_up)

    def look_up(self, approval_id: str) -> Approval | None:
        found = self.api.approvals.get(approval_id)
        return None if self.away or found is None else Approval.model_validate(found)

    def asked(self, *decision: Any) -> str:
        """An approval's id: pending, or decided with these arguments."""
        approval_id: str = self.api.approval()["id"]
        if decision:
            self.api.decide(approval_id, *decision)
        return approval_id


def asking(hook: _Hook, monkeypatch: pytest.MonkeyPatch, **more: Any) -> GovernedSQLExecuteQueryOperator:
    return _operator(hook, monkeypatch, ask_in_airflow=True, **more)


CONTEXT: dict[str, Any] = {"ti": SimpleNamespace(id="ti-1")}


def test_it_parks_on_the_gateways_own_page(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway(monkeypatch)
    with pytest.raises(Parked):
        asking(_Hook(("apr_1",)), monkeypatch, approval_timeout=60).execute(CONTEXT)
    assert gateway.parked == {
        "instance": "ti-1",
        "shown": (PAGE.subject, PAGE.body, PAGE.options),
        "method_name": "execute_answered",
        "kwargs": {"asked": [], "rounds": 1, "waiting_for": ["apr_1"]},
        "timeout": timedelta(seconds=60),
    }


@pytest.mark.parametrize(("page", "asked"), [(None, ("apr_1",)), (PAGE, ("apr_1", "apr_2"))])
def test_it_waits_in_the_triggerer_where_no_page_decides_or_one_cannot_ask_for_all(
    page: AirflowPage | None, asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    Gateway(monkeypatch, page=page)
    operator = asking(_Hook(asked), monkeypatch)
    assert _deferral(operator, lambda: operator.execute(CONTEXT)).trigger.approval_ids == list(asked)


def test_what_was_approved_executes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway, hook = Gateway(monkeypatch), _Hook()
    approval_id = gateway.asked(True, "user:dana")
    assert asking(hook, monkeypatch).execute_answered(CONTEXT, ANSWER, [approval_id]) == [(3,)]
    assert len(hook.runs) == 1


def test_what_was_denied_fails_with_who_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway, hook = Gateway(monkeypatch), _Hook()
    approval_id = gateway.asked(False, "user:dana", "wrong month")
    with pytest.raises(AirflowFailException, match=f"^Approval {approval_id} was denied by user:dana: wrong month$"):
        asking(hook, monkeypatch).execute_answered(CONTEXT, ANSWER, [approval_id])
    assert hook.runs == []


@pytest.mark.parametrize("away", [False, True])
def test_an_answer_that_has_not_decided_is_waited_on_in_the_triggerer_and_nothing_runs(
    away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody can be asked: executing again to find out would ask once more what was just denied."""
    gateway, hook = Gateway(monkeypatch), _Hook()
    approval_id = gateway.asked(*((False, "user:dana") if away else ()))
    gateway.away = away
    operator = asking(hook, monkeypatch)
    call = lambda: operator.execute_answered(CONTEXT, ANSWER, [approval_id], ["apr_0"], 2)  # noqa: E731
    deferred = _deferral(operator, call)
    assert deferred.trigger.approval_ids == [approval_id]
    assert deferred.kwargs == {"asked": ["apr_0"], "rounds": 2, "waiting_for": [approval_id]}
    assert hook.runs == []


def test_nobody_in_time_fails_without_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    Gateway(monkeypatch)
    timed_out = {"error": "The Human-in-the-loop response timeout has passed", "error_type": "timeout"}
    with pytest.raises(AirflowFailException, match="Nobody decided on apr_1 within 0:01:00"):
        asking(_Hook(), monkeypatch, approval_timeout=timedelta(minutes=1)).execute_answered(
            CONTEXT, timed_out, ["apr_1"]
        )


def test_an_answer_to_an_earlier_trys_row_ends_no_wait_in_the_triggerer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow resumes a deferred task with it, whatever its trigger waits for."""
    gateway, hook = Gateway(monkeypatch), _Hook()
    one, two = gateway.asked(True, "user:dana"), gateway.asked()
    operator = asking(hook, monkeypatch)
    resume = lambda: operator.execute_approved(CONTEXT, ANSWER, [], 1, [one, two])  # noqa: E731
    assert _deferral(operator, resume).trigger.approval_ids == [one, two]
    gateway.api.decide(two, True, "user:dana")
    assert resume() == [(3,)]
    denied = gateway.asked(False, "user:dana", "no")
    with pytest.raises(AirflowFailException, match=f"Approval {denied} was denied by user:dana: no"):
        operator.execute_approved(CONTEXT, ANSWER, [], 1, [one, denied])
    assert len(hook.runs) == 1


def test_once_resumed_it_parks_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway, hook = Gateway(monkeypatch), _Hook(("apr_2",))
    approval_id = gateway.asked(True, "user:dana")
    operator = asking(hook, monkeypatch)
    deferred = _deferral(operator, lambda: operator.execute_answered(CONTEXT, ANSWER, [approval_id]))
    assert deferred.kwargs == {"asked": [approval_id], "rounds": 2, "waiting_for": ["apr_2"]}
