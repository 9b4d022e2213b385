from __future__ import annotations

import copy
import gc
import pickle
from dataclasses import replace
from uuid import uuid4

from taskgate_prefect.attempt_connections import ByAttempt
from taskgate_prefect.run_attempt import RunAttempt, attempt_of
from tests.unit.prefect.test_progress import Lives, body, in_task

_abandoned: list[tuple[RunAttempt, str]] = []


def _abandon(attempt: RunAttempt, held: str) -> None:
    _abandoned.append((attempt, held))


def test_each_attempt_has_its_own() -> None:
    held: ByAttempt[object] = ByAttempt(_abandon)  # type: ignore[arg-type]
    one = in_task()
    other = replace(one, task_run_id=uuid4())
    assert held.of(one, object) is held.of(one, object)
    assert held.of(one, object) is not held.of(other, object)
    assert held.known(attempt_of(body(one))) is None
    assert len(held.known_within(attempt_of(body(one)))) == 2
    assert [attempt for attempt, _ in held.take(attempt_of(one))] == [attempt_of(one)]
    assert held.known(attempt_of(one)) is None
    assert held.known(attempt_of(other)) is not None


def test_what_is_left_open_is_abandoned_with_its_run() -> None:
    _abandoned.clear()
    held = ByAttempt(_abandon)
    lives = Lives()
    running = in_task(lives=lives)
    held.of(running, lambda: "left open")
    attempt = attempt_of(running)
    del running, lives
    gc.collect()
    assert _abandoned == [(attempt, "left open")]
    assert held.known(attempt) is None


def test_what_was_closed_is_not_abandoned() -> None:
    _abandoned.clear()
    held = ByAttempt(_abandon)
    lives = Lives()
    running = in_task(lives=lives)
    held.of(running, lambda: "closed")
    held.take(attempt_of(running))
    del running, lives
    gc.collect()
    assert _abandoned == []


def test_copies_and_pickles_hold_nothing() -> None:
    held = ByAttempt(_abandon)
    running = in_task()
    held.of(running, lambda: "here")
    for again in (copy.copy(held), copy.deepcopy(held), pickle.loads(pickle.dumps(held))):
        assert again.known(attempt_of(running)) is None
    assert held.known(attempt_of(running)) == "here"
