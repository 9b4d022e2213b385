from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from taskgate_prefect import compat
from taskgate_prefect.approvals.progress import Progress
from taskgate_prefect.approvals.waiting import Manner
from taskgate_prefect.run_attempt import attempt_of


class Lives:
    """As a run's context does."""


def in_task(**changes: object) -> compat.RunningFlow:
    running = compat.RunningFlow(
        uuid4(), 1, uuid4(), 1, deployed=True, subflow=False, elsewhere=False, persists=True, lives=Lives()
    )
    return replace(running, **changes)  # type: ignore[arg-type]


def body(running: compat.RunningFlow) -> compat.RunningFlow:
    return replace(running, task_run_id=None)


def test_a_deployed_run_that_keeps_results_is_suspended() -> None:
    assert Progress().manner(in_task())[0] is Manner.SUSPEND
    assert Progress().manner(body(in_task()))[0] is Manner.SUSPEND


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"deployed": False}, "deployment"),
        ({"persists": False}, "persist_result"),
        ({"subflow": True}, "subflow"),
        ({"elsewhere": True}, "another process"),
    ],
)
def test_what_prefect_cannot_start_again_is_paused_and_says_why(changes: dict[str, object], why: str) -> None:
    manner, said = Progress().manner(in_task(**changes))
    assert manner is Manner.PAUSE
    assert why in said


def test_what_would_be_repeated_is_paused() -> None:
    running, progress = in_task(), Progress()
    progress.executed(attempt_of(running))
    assert progress.manner(running)[0] is Manner.PAUSE
    other = replace(running, task_run_id=uuid4())
    assert progress.manner(other)[0] is Manner.SUSPEND, "a finished task is not repeated"
    progress.executed(attempt_of(body(running)))
    assert progress.manner(other)[0] is Manner.PAUSE, "a flow's body is"


def test_code_that_may_run_again_does_not_count_its_own() -> None:
    running, progress = in_task(), Progress()
    progress.executed(attempt_of(running))
    assert progress.manner(running, repeatable=True)[0] is Manner.SUSPEND
    progress.executed(attempt_of(body(running)))
    assert progress.manner(running, repeatable=True)[0] is Manner.PAUSE


def test_while_a_task_waits_in_this_process_it_is_not_left() -> None:
    running, progress = in_task(), Progress()
    progress.waits_here(running.flow_run_id, 1)
    assert progress.manner(running)[0] is Manner.PAUSE
    assert progress.manner(in_task())[0] is Manner.SUSPEND, "another run's wait is no matter"
    progress.waits_here(running.flow_run_id, -1)
    assert progress.manner(running)[0] is Manner.SUSPEND


def test_what_is_over_is_forgotten() -> None:
    running, progress = in_task(), Progress()
    progress.executed(attempt_of(running))
    progress.executed(attempt_of(body(running)))
    progress.ended(attempt_of(body(running)))
    assert progress.manner(running)[0] is Manner.SUSPEND
