"""Airflow's own page as a second place to decide, against the stand-in of its REST API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from taskgate.approvals import airflow_answers
from taskgate.approvals.airflow_answers import AirflowAnswers
from taskgate.domain import Approval, ApprovalState, Attempt
from taskgate.errors import PolicyRefusal
from taskgate.identity.orchestrators.airflow.human_input import HumanInputs
from taskgate.identity.scopes import Scope
from taskgate.store.database import Database
from tests.integration.approvals.setting import TERMS, Gateway, draft, task
from tests.integration.identity.airflow_stand_in import SOURCE, Airflow, Instance, answer

TERMS_THERE = replace(TERMS, channels=("airflow",))
PEOPLE = {"alice": "dana", "8": "dana", "9": "carol"}
URL = "https://taskgate/approvals?id="


class Setting:
    def __init__(self, gateway: Gateway, airflow: Airflow) -> None:
        self.gateway = gateway
        self.airflow = airflow
        self.instance = airflow.add()
        source = airflow.source(people=PEOPLE)
        self.answers = AirflowAnswers(
            SOURCE, HumanInputs(source.account), source.settings.people,
            approvals=gateway.approvals, api_keys=gateway.keys, url=lambda approval_id: URL + approval_id,
        )  # fmt: skip

    async def asked(self, *, parked: bool = True, **other: Any) -> Approval:
        who = replace(task(), attempt=Attempt(self.instance.id, self.instance.key))
        given = {"principal": who, "terms": TERMS_THERE, **other}
        approval = await self.gateway.approvals.request(draft(**given))
        if parked:
            self.park(approval)
        return approval

    def park(self, approval: Approval) -> Any:
        page = self.answers.page(approval)
        assert page is not None
        return self.airflow.park(self.instance, page.subject, page.body)

    @property
    def row(self) -> dict[str, Any]:
        return next(iter(self.airflow.rows.values()))

    async def state(self, approval: Approval) -> ApprovalState:
        found = await self.gateway.approvals.get(approval.id)
        assert found is not None
        return found.state


@pytest.fixture
async def setting(database: Database) -> Setting:
    gateway = Gateway(database, people={SOURCE: PEOPLE})
    await gateway.person("dana")
    return Setting(gateway, Airflow())


async def test_an_entitled_persons_answer_decides(setting: Setting) -> None:
    approval = await setting.asked()
    assert await setting.answers.look(approval) is False
    answer(setting.row, ["Approve"], "alice")
    assert await setting.answers.look(approval) is True
    decided = await setting.gateway.approvals.get(approval.id)
    assert decided is not None
    assert (decided.state, decided.decided_by) == (ApprovalState.APPROVED, "user:taskgate:dana")
    assert decided.comment == "on Airflow's page, as alice"
    assert await setting.answers.look(approval) is True  # and once


async def test_a_no_is_a_no(setting: Setting) -> None:
    approval = await setting.asked()
    answer(setting.row, ["Deny"], "alice")
    await setting.answers.look(approval)
    assert await setting.state(approval) is ApprovalState.DENIED


DOCTORED = {
    "subject": lambda row: row.update(subject="Taskgate: sql.select public.orders at orders-db"),
    "text": lambda row: row.update(body=row["body"].replace("DELETE", "SELECT")),
    "digest": lambda row: row.update(body=row["body"].replace("Digest: `d", "Digest: `e")),
    "one more line": lambda row: row.update(body=row["body"] + "\n\nAlready checked by security."),
    "options": lambda row: row.update(options=["Approve"]),
    "order of options": lambda row: row.update(options=["Deny", "Approve"]),
    "default": lambda row: row.update(defaults=["Approve"]),
    "several": lambda row: row.update(multiple=True),
    "parameters": lambda row: row.update(params={"x": {"value": 1}}),
}


@pytest.mark.parametrize("change", DOCTORED)
async def test_al_02_a_row_with_doctored_text_decides_nothing(setting: Setting, change: str) -> None:
    approval = await setting.asked()
    DOCTORED[change](setting.row)  # type: ignore[no-untyped-call]
    answer(setting.row, ["Approve"], "alice")
    assert await setting.answers.look(approval) is False
    assert await setting.state(approval) is ApprovalState.PENDING


async def test_al_02_harmless_text_of_another_request_decides_nothing(setting: Setting) -> None:
    harmful = await setting.asked(parked=False)
    harmless = await setting.asked(digest="e" * 64, text="SELECT 1")
    answer(setting.row, ["Approve"], "alice")
    assert await setting.answers.look(harmful) is False
    assert await setting.state(harmful) is ApprovalState.PENDING
    assert await setting.answers.look(harmless) is True


@pytest.mark.parametrize("user", [None, "mallory", "taskgate", "dana", "Alice "])
async def test_al_01_answers_of_nobody_known_do_not_count(setting: Setting, user: str | None) -> None:
    approval = await setting.asked()
    answer(setting.row, ["Approve"], user)
    assert await setting.answers.look(approval) is False
    assert await setting.state(approval) is ApprovalState.PENDING


async def test_al_01_whoever_may_not_decide_here_may_not_there(setting: Setting) -> None:
    await setting.gateway.person("carol", groups=("interns",))
    approval = await setting.asked()
    answer(setting.row, ["Approve"], "9")
    assert await setting.answers.look(approval) is False
    triggered = replace(task(triggering_user="dana"), attempt=Attempt(setting.instance.id, setting.instance.key))
    own = await setting.asked(digest="f" * 64, principal=triggered)
    answer(setting.row, ["Approve"], "alice")
    assert await setting.answers.look(own) is False
    assert await setting.state(own) is ApprovalState.PENDING


async def test_a_key_that_may_not_decide_is_no_deciders(setting: Setting) -> None:
    await setting.gateway.person("carol", scopes=(Scope.APPROVALS_READ,))
    approval = await setting.asked()
    answer(setting.row, ["Approve"], "9")
    assert await setting.answers.look(approval) is False


async def test_al_01_a_name_is_no_id(setting: Setting) -> None:
    """Where users choose their names, one may call himself as another."""
    approval = await setting.asked()
    answer(setting.row, ["Approve"], "alice")
    setting.row["responded_by_user"] = {"id": "999", "name": "alice"}
    assert await setting.answers.look(approval) is False
    setting.row["responded_by_user"] = {"id": "8", "name": "Bob"}
    assert await setting.answers.look(approval) is True


@pytest.mark.parametrize("there", [True, False])
async def test_al_01_a_user_of_airflows_is_the_person_he_is_configured_to_be(setting: Setting, there: bool) -> None:
    """alice is dana: what alice has started dana may not decide, on Airflow's page or here."""
    triggered = replace(task(triggering_user="Alice"), attempt=Attempt(setting.instance.id, setting.instance.key))
    own = await setting.asked(principal=triggered)
    if there:
        answer(setting.row, ["Approve"], "alice")
        assert await setting.answers.look(own) is False
    else:
        (dana,) = await setting.gateway.keys.of_person("dana")
        with pytest.raises(PolicyRefusal, match="stands behind"):
            await setting.gateway.approvals.decide(own.id, dana.id, True)
    assert await setting.state(own) is ApprovalState.PENDING


async def test_al_01_whoever_answers_under_the_name_that_started_the_run_does_not_count(setting: Setting) -> None:
    """Configured by an id that says nothing, the user's name still tells."""
    triggered = replace(task(triggering_user="al"), attempt=Attempt(setting.instance.id, setting.instance.key))
    own = await setting.asked(principal=triggered)
    answer(setting.row, ["Approve"], "8")
    setting.row["responded_by_user"]["name"] = "al"
    assert await setting.answers.look(own) is False
    assert await setting.state(own) is ApprovalState.PENDING


async def test_only_where_the_rule_says_so(setting: Setting) -> None:
    approval = await setting.asked(parked=False, terms=TERMS)
    assert setting.answers.page(approval) is None
    there = await setting.asked(parked=False, digest="e" * 64)
    page = setting.answers.page(there)
    assert page is not None
    setting.airflow.park(setting.instance, page.subject, page.body.replace(there.id, approval.id))
    answer(setting.row, ["Approve"], "alice")
    assert await setting.answers.look(approval) is False
    assert await setting.state(approval) is ApprovalState.PENDING


async def test_a_row_that_says_something_else_already_is_not_written(setting: Setting) -> None:
    """Airflow keeps a task's row over its tries, and with it the text: what a later try asks cannot be shown there."""
    before = await setting.asked()
    assert await setting.answers.page_to_write(before) == setting.answers.page(before)
    anew = await setting.asked(parked=False, digest="e" * 64)
    assert await setting.answers.page_to_write(anew) is None
    setting.airflow.rows.clear()
    assert await setting.answers.page_to_write(anew) == setting.answers.page(anew)


# --- decided here --------------------------------------------------------------------------------------------------


@pytest.fixture
async def running(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Setting]:
    monkeypatch.setattr(airflow_answers, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(airflow_answers, "_TRIES", (0.0, *[0.1] * 40))
    monkeypatch.setattr(airflow_answers, "_NOT_SOONER", 0.0)
    async with setting.gateway.running():
        going = asyncio.create_task(setting.answers.run(setting.gateway.signals))
        yield setting
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)


async def until(done: Any, seconds: float = 5.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not done():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


async def dana(setting: Setting) -> str:
    return (await setting.gateway.keys.of_person("dana"))[0].id


async def test_a_decision_here_answers_the_row_so_that_the_task_goes_on(running: Setting) -> None:
    approval = await running.asked()
    await running.gateway.approvals.decide(approval.id, await dana(running), True)
    await until(lambda: running.row["response_received"])
    assert running.row["chosen_options"] == ["Approve"]
    assert running.row["responded_by_user"]["id"] == "taskgate"


async def test_the_row_is_not_answered_before_airflows_scheduler_can_bear_it(
    running: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow_answers, "_NOT_SOONER", 1.5)
    approval = await running.asked()
    await running.gateway.approvals.decide(approval.id, await dana(running), True)
    await asyncio.sleep(0.7)
    assert not running.row["response_received"]
    await until(lambda: running.row["response_received"])


async def test_what_ends_without_a_decision_wakes_the_task_too(running: Setting) -> None:
    approval = await running.asked()
    await running.gateway.approvals.withdraw_all(approval.owner_key, "the task was cleared")
    await until(lambda: running.row["response_received"])
    assert running.row["chosen_options"] == ["Deny"]


async def test_a_row_that_is_written_after_the_decision_is_answered_still(running: Setting) -> None:
    approval = await running.asked(parked=False)
    await running.gateway.approvals.decide(approval.id, await dana(running), True)
    await asyncio.sleep(0.3)
    running.park(approval)
    await until(lambda: running.row["response_received"])


async def test_answers_are_read_by_themselves_and_an_airflow_that_is_away_is_waited_for(running: Setting) -> None:
    approval = await running.asked()
    running.airflow.away = 503
    await asyncio.sleep(0.2)
    answer(running.row, ["Approve"], "alice")
    running.airflow.away = None
    decided = await asyncio.wait_for(running.gateway.approvals.decided(approval.id), 5)
    assert decided.state is ApprovalState.APPROVED


async def test_one_that_cannot_be_looked_at_keeps_no_other_from_it(running: Setting) -> None:
    """A DAG that the gateway's account may not see, say."""
    hidden = replace(task(), attempt=Attempt("ti-0", replace(running.instance.key, task_id="hidden")))
    await running.asked(parked=False, digest="e" * 64, principal=hidden)
    approval = await running.asked()
    await running.asked(parked=False, digest="f" * 64, principal=hidden)
    running.airflow.forbidden = "hidden"
    answer(running.row, ["Approve"], "alice")
    decided = await asyncio.wait_for(running.gateway.approvals.decided(approval.id), 5)
    assert decided.state is ApprovalState.APPROVED


async def test_what_was_decided_while_nobody_listened_is_answered_at_the_start(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow_answers, "_NOT_SOONER", 0.0)
    approval = await setting.asked()
    await setting.gateway.approvals.decide(approval.id, await dana(setting), True)
    assert not setting.row["response_received"]
    async with setting.gateway.running():
        going = asyncio.create_task(setting.answers.run(setting.gateway.signals))
        await until(lambda: setting.row["response_received"])
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)


def test_the_stand_ins_instances_are_of_its_source() -> None:
    assert Instance().key.source == SOURCE
