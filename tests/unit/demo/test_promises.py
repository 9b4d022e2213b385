"""The demo's promises are broken where what they say is not so."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from taskgate.demo.example import AIRFLOW, PREFECT, Waiting
from taskgate.demo.orchestrator import TaskEnd
from taskgate.demo.promises import Seen, deleted, drop_refused, no_secret, reads_masked

SUSPENDED, PAUSED = PREFECT.deletions
DONE = TaskEnd("COMPLETED", 3)


def seen(waiting: Waiting | None, before: int = 3) -> Seen:
    task = SUSPENDED.task_id
    return Seen({task: waiting} if waiting else {}, {task: before})


def test_deleted_once_after_it_waited_as_promised() -> None:
    promise = deleted(PREFECT, SUSPENDED, DONE, seen(SUSPENDED.waits), 0, 1)
    assert promise.held
    assert "was Suspended in Prefect, with no process of its run alive, while pending" in promise.observed
    assert "with 1 process of its run" in deleted(PREFECT, SUSPENDED, DONE, seen(PAUSED.waits), 0, 1).observed
    for end, waiting, left, ran in (
        (TaskEnd("FAILED"), SUSPENDED.waits, 0, 1),
        (DONE, None, 0, 1),
        (DONE, PAUSED.waits, 0, 1),
        (DONE, replace(SUSPENDED.waits, processes=1), 0, 1),
        (DONE, replace(SUSPENDED.waits, holds_connection=True), 0, 1),
        (DONE, SUSPENDED.waits, 1, 1),
        (DONE, SUSPENDED.waits, 0, 2),
    ):
        promise = deleted(PREFECT, SUSPENDED, end, seen(waiting), left, ran)
        assert not promise.held, (end, waiting, left, ran)
        assert ("2 DELETEs in the server's log" in promise.observed) is (ran == 2)
    nothing_there = deleted(PREFECT, SUSPENDED, DONE, seen(SUSPENDED.waits, before=0), 0, 1)
    assert not nothing_there.held


def test_an_airflow_that_cannot_be_asked_is_taken_at_the_gateways_word() -> None:
    stock = AIRFLOW.deletions[0]
    counted = Seen({stock.task_id: Waiting(holds_connection=True)}, {stock.task_id: 1})
    promise = deleted(AIRFLOW, stock, TaskEnd("success"), counted, 0, 1)
    assert promise.held
    assert promise.observed == "state success, held a connection while pending, 1 matching orders before and 0 after"


@pytest.fixture
def stage() -> Any:
    form = SimpleNamespace(example=PREFECT)
    return SimpleNamespace(canaries=["ada@example.org"], target_passwords=["pass-word"], form=form)


def test_rows_are_masked_wherever_they_are_kept(stage: Any) -> None:
    rows = TaskEnd("COMPLETED", [[number, "[redacted]"] for number in range(5)])
    assert reads_masked(stage, rows, {"Prefect printed": b"nothing"}).held
    assert not reads_masked(stage, rows, {"its database holds": b"\x00ada@example.org\x00"}).held
    assert not reads_masked(stage, replace(rows, value=[["ada@example.org", "[redacted]"]] * 5), {}).held
    assert not reads_masked(stage, replace(rows, value=None), {}).held
    assert not reads_masked(stage, replace(rows, value=[["clear"]] * 5), {}).held, "nothing in it is masked"


def test_what_is_refused_says_why_and_never_reaches_the_server() -> None:
    log = "refused by rule no-production-ddl: Schema changes go through migrations."
    assert drop_refused(TaskEnd("FAILED"), log, ["select 1"]).held
    assert not drop_refused(TaskEnd("FAILED"), "", []).held
    assert not drop_refused(TaskEnd("COMPLETED"), log, []).held
    assert not drop_refused(TaskEnd("FAILED"), log, ["drop table public.orders"]).held


def test_a_password_is_found_wherever_it_is(stage: Any) -> None:
    kept = {"Prefect printed": b"-", "its database holds": b"-"}
    promise = no_secret(stage, kept)
    assert promise.held
    assert promise.observed == "not in anything Prefect printed, nor in anything its database holds"
    promise = no_secret(stage, {**kept, "its database holds": b"\x01pass-word"})
    assert not promise.held
    assert promise.observed == "found in what its database holds"
