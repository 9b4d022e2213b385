"""When an attempt of a flow run is over, as far as it can be told from what Prefect says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from taskgate.identity.orchestrators.faults import NotProven
from taskgate.identity.orchestrators.over import Ending
from taskgate.identity.orchestrators.prefect.runs import (
    AttemptId,
    FlowRun,
    TaskRun,
    over,
    process_over,
    run_over,
    run_uuid,
    running,
)

RUN, TASK = "5c1ee0a4-0c0e-4f0d-9a51-000000000001", "5c1ee0a4-0c0e-4f0d-9a51-000000000002"
Given = Mapping[str, Any] | None
Made = TypeVar("Made")
FINAL = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]


def flow_run(suspended_for: float | None = None, **given: Any) -> FlowRun:
    made = FlowRun(
        id=RUN, name="wakeful-crow", flow_id=RUN, deployment_id=None, work_pool=None, state="RUNNING",
        state_name="Running", state_at=datetime.now(UTC), suspended=False, pause_key=None, run_count=1,
        parent_task_run_id=None, scheduled=False,
    )  # fmt: skip
    if suspended_for is not None:
        made = replace(made, state="PAUSED", suspended=True, state_at=made.state_at - timedelta(seconds=suspended_for))
    return replace(made, **given)


def task_run(**given: Any) -> TaskRun:
    return replace(TaskRun(TASK, "clean-0", "clean", RUN, "RUNNING", 1), **given)


def made(kind: Callable[..., Made], given: Given) -> Made | None:
    """When the test runs, not when it is collected: how long ago counts."""
    return None if given is None else kind(**given)


@pytest.mark.parametrize(
    ("found", "ending"),
    [
        ({}, None),
        ({"state": "PAUSED"}, None),
        ({"suspended_for": 0}, None),
        (None, Ending.GONE),
        *(({"state": state}, Ending.FINISHED) for state in (*FINAL, "CANCELLING")),
        *(({"state": state}, Ending.RETRIED) for state in ("SCHEDULED", "PENDING")),
        ({"run_count": 2}, Ending.RETRIED),
        ({"run_count": 2, "pauses": 1}, None),  # resumed, by the same process
        ({"run_count": 3, "pauses": 1}, Ending.RETRIED),
        ({"run_count": 0, "pauses": 9}, Ending.RETRIED),
        ({"run_count": 0}, Ending.RETRIED),
        ({"run_count": 2, "state": "COMPLETED"}, Ending.FINISHED),
    ],
    ids=str,
)
def test_when_a_flow_run_is_over(found: Given, ending: Ending | None) -> None:
    ended = run_over(made(flow_run, found), 1)
    assert (ended.ending if ended else None) is ending
    assert ended is None or ended.withdraws is (ending is not Ending.RETRIED)


@pytest.mark.parametrize(
    ("found", "in_task", "task", "because"),
    [
        ({}, True, {}, None),
        ({}, False, None, None),
        ({"state": "PAUSED"}, True, {}, None),
        ({"state": "PAUSED"}, False, None, None),
        ({"suspended_for": 0}, False, None, "the flow run is suspended"),
        ({"suspended_for": 50}, True, {}, None),
        ({"suspended_for": 70}, True, {}, "the flow run is suspended"),
        ({}, True, None, "Prefect knows of no such task run in the flow run"),
        ({}, True, {"flow_run_id": TASK}, "Prefect knows of no such task run in the flow run"),
        ({}, True, {"flow_run_id": None}, "Prefect knows of no such task run in the flow run"),
        ({}, True, {"run_count": 2}, "another try has taken its place"),
        ({}, True, {"run_count": 0}, "another try has taken its place"),
        *(({}, True, {"state": state}, f"the task run is {state}") for state in (*FINAL, "SCHEDULED")),
        ({"state": "CRASHED", "state_name": "Crashed"}, True, {}, "the flow run is Crashed"),
    ],
    ids=str,
)
def test_when_an_attempt_is_over(found: Given, in_task: bool, task: Given, because: str | None) -> None:
    attempt = AttemptId("prod", in_task, TASK if in_task else RUN, 1)
    ended = over(attempt, 1, made(flow_run, found), made(task_run, task))
    assert (ended.because if ended else None) == because


@pytest.mark.parametrize(
    ("process", "ending"),
    [
        ({"run_count": 7}, None),
        ({"suspended_for": 50}, None),
        ({"suspended_for": 70}, Ending.RETRIED),
        ({"state": "FAILED"}, Ending.FINISHED),
        (None, Ending.GONE),
    ],
    ids=str,
)
def test_a_subflow_goes_on_as_long_as_its_process(process: Given, ending: Ending | None) -> None:
    ended = process_over(made(flow_run, process))
    assert (ended.ending if ended else None) is ending


def test_what_was_started_by_itself_has_a_process() -> None:
    called = flow_run(parent_task_run_id=TASK)
    assert not called.has_own_process
    for own in (flow_run(), replace(called, deployment_id=RUN), replace(called, work_pool="etl")):
        assert own.has_own_process


@pytest.mark.parametrize("state", [*FINAL, "CANCELLING", "SCHEDULED", "PENDING", "NEW-IN-PREFECT-9"])
def test_what_is_not_known_to_have_a_process_has_none(state: str) -> None:
    with pytest.raises(NotProven) as caught:
        running(flow_run(state=state))
    assert caught.value.code == "flow_run_not_running"


def test_which_states_have_a_process() -> None:
    assert running(flow_run())
    assert running(flow_run(state="PAUSED"))
    for none in (flow_run(suspended_for=0), None):
        with pytest.raises(NotProven):
            running(none)


def test_an_attempts_id_is_read_as_it_was_written() -> None:
    for source, in_task in (("prod", True), ("prod", False), ("eu:prod", True)):
        attempt = AttemptId(source, in_task, RUN, 12)
        assert AttemptId.parse(str(attempt)) == attempt
    body = f"prod:flow-run:{RUN}"
    for strange in ("", RUN, f"{RUN}:1", f"prod:x:{RUN}:1", f"{body}:", f"{body}:x", f"{body}:-1", f"{body}:1:2",
                    f"{body}:٣", f"{body}:{'9' * 5000}"):  # fmt: skip
        assert AttemptId.parse(strange) is None


def test_a_runs_id_has_one_spelling() -> None:
    for spelling in (RUN, RUN.upper(), f"{{{RUN}}}", f"urn:uuid:{RUN}", RUN.replace("-", "")):
        assert run_uuid(spelling) == RUN
    for strange in ("", "x", f"{RUN}0", f"{RUN}/..", "../flows"):
        with pytest.raises(NotProven):
            run_uuid(strange)
