from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from taskgate_prefect import NotInRun
from taskgate_prefect.run_attempt import RunAttempt, attempt_of, current_attempt
from tests.unit.prefect.test_progress import body, in_task


def test_a_try_of_a_task_is_one_and_a_flows_body_another() -> None:
    running = replace(in_task(), run_count=3, task_run_count=2)
    assert attempt_of(running) == RunAttempt(running.flow_run_id, running.task_run_id, 2)
    assert attempt_of(body(running)) == RunAttempt(running.flow_run_id, None, 3)


def test_a_body_includes_its_runs_tasks_and_nothing_else() -> None:
    running = in_task()
    of_task, of_body = attempt_of(running), attempt_of(body(running))
    assert of_body.includes(of_task)
    assert of_body.includes(of_body)
    assert of_task.includes(of_task)
    assert not of_task.includes(of_body)
    assert not of_task.includes(replace(of_task, run_count=2))
    assert not of_body.includes(replace(of_task, flow_run_id=uuid4()))


def test_outside_of_a_run_there_is_none() -> None:
    with pytest.raises(NotInRun, match="@flow"):
        current_attempt()
