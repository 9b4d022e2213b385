"""What is read of a real server's answers, and what is no run, deployment or flow.

The answers are those of Prefect 3.7.7, whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from taskgate.identity.orchestrators.prefect import reading
from taskgate.identity.orchestrators.prefect.runs import Deployment

ANSWERS: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("answers.json").read_text())
FAULTS = (KeyError, ValueError, TypeError, AttributeError)


def test_a_run_that_a_worker_started() -> None:
    run = reading.flow_run(ANSWERS["flow_run"])
    answer = ANSWERS["flow_run"]
    assert (run.id, run.flow_id, run.deployment_id) == (answer["id"], answer["flow_id"], answer["deployment_id"])
    assert (run.work_pool, run.state, run.state_name) == (answer["work_pool_name"], "RUNNING", "Running")
    assert (run.run_count, run.scheduled, run.suspended, run.created_by) == (2, False, False, None)
    assert run.overrides == ("env",)
    assert run.state_at.tzinfo is not None


def test_a_paused_and_a_suspended_run() -> None:
    paused, suspended = reading.flow_run(ANSWERS["paused"]), reading.flow_run(ANSWERS["suspended"])
    assert (paused.is_paused, paused.suspended, paused.pause_key) == (True, False, "apr_x")
    assert (suspended.is_paused, suspended.suspended, suspended.pause_key) == (True, True, "apr_1")


def test_a_subflow_and_the_task_run_that_called_it() -> None:
    subflow, call = reading.flow_run(ANSWERS["subflow"]), reading.task_run(ANSWERS["call"])
    assert subflow.parent_task_run_id == call.id
    assert not subflow.has_own_process
    assert call.task == "child"


def test_a_task_run() -> None:
    task = reading.task_run(ANSWERS["task_run"])
    assert (task.task, task.state, task.run_count) == ("sub_of", "RUNNING", 1)
    assert task.flow_run_id == ANSWERS["task_run"]["flow_run_id"]


def test_a_deployment_and_a_flow() -> None:
    answer = ANSWERS["deployment"]
    assert reading.deployment(answer) == Deployment("prod", answer["flow_id"], "etl")
    assert reading.flow_name(ANSWERS["flow"]) == "top"


def test_a_run_that_has_no_state_yet() -> None:
    run = reading.flow_run({**ANSWERS["flow_run"], "state": None})
    assert (run.state, run.has_not_begun) == ("PENDING", True)
    assert run.state_at < datetime.now(UTC)


def test_who_created_a_run_is_a_user_or_unknown() -> None:
    for kind, known in (("USER", "bob"), ("DEPLOYMENT", None), ("AUTOMATION", None), (None, None)):
        created = {"id": None, "type": kind, "display_value": "bob"}
        assert reading.flow_run({**ANSWERS["flow_run"], "created_by": created}).created_by == known


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None),
        ("id", 7),
        ("id", "../flows"),
        ("flow_id", "x"),
        ("deployment_id", "x"),
        ("parent_task_run_id", ""),
        ("name", None),
        ("name", "half \ud83d"),
        ("work_pool_name", "x" * 251),
        ("work_pool_name", "etl\n"),
        ("work_pool_name", ["etl"]),
        ("run_count", None),
        ("run_count", "1"),
        ("run_count", 1.0),
        ("run_count", True),
        ("run_count", -1),
        ("run_count", 2**31),
        ("state", {}),
        ("state", {"type": None, "name": "x", "timestamp": "2026-01-01T00:00:00Z"}),
        ("state", {"type": "RUNNING", "name": "x", "timestamp": "soon"}),
        ("state", {"type": "RUNNING", "name": "x", "timestamp": "2026-01-01T00:00:00"}),
        ("state", "RUNNING"),
        ("created_by", {"type": "USER", "display_value": "b" * 251}),
        ("job_variables", {"": 1}),
        ("job_variables", {"x" * 251: 1}),
        ("job_variables", {f"v{n}": 1 for n in range(101)}),
        ("tags", [None]),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_flow_run(field: str, value: object) -> None:
    with pytest.raises(FAULTS):
        reading.flow_run({**ANSWERS["flow_run"], field: value})


@pytest.mark.parametrize("found", [{}, [], None, "x", 1])
def test_what_is_nothing(found: Any) -> None:
    for read in (reading.flow_run, reading.task_run, reading.deployment, reading.flow_name):
        with pytest.raises(FAULTS):
            read(found)


@pytest.mark.parametrize("name", ["", "x" * 251, "a\x00b", "a\nb", "a/b", None])
def test_a_name_that_could_be_taken_for_another_is_none(name: object) -> None:
    with pytest.raises(FAULTS):
        reading.flow_name({**ANSWERS["flow"], "name": name})
    if name != "a/b":  # a deployment's is the last part of what it is called
        with pytest.raises(FAULTS):
            reading.deployment({**ANSWERS["deployment"], "name": name})


def test_what_is_only_shown_is_cut_short() -> None:
    run = reading.flow_run({**ANSWERS["flow_run"], "name": "n\n" + "x" * 10_000, "tags": ["t" * 300] * 1000})
    assert run.name == "n " + "x" * 248
    assert run.tags == ("t" * 250,) * 100


@pytest.mark.parametrize(
    ("task_key", "task"),
    [
        ("clean-0a1b2c3d", "clean"),
        ("main.<locals>.clean-0a1b2c3d", "main.<locals>.clean"),
        ("clean-up-0a1b2c3d", "clean-up"),
        ("clean", "clean"),
        ("clean-0A1B2C3D", "clean-0A1B2C3D"),
        ("-0a1b2c3d", "-0a1b2c3d"),
    ],
)
def test_a_tasks_name_is_its_functions(task_key: str, task: str) -> None:
    assert reading.task_run({**ANSWERS["task_run"], "task_key": task_key}).task == task
