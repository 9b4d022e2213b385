from __future__ import annotations

import asyncio
import threading
import time

import pytest
import structlog

from taskgate_airflow import attempts_posted
from taskgate_airflow.attempts_posted import AttemptsPostedReporter


async def test_what_comes_close_together_is_told_at_once_and_each_only_once() -> None:
    told: list[list[str]] = []
    reporter = AttemptsPostedReporter(told.append, every=0.02)
    await asyncio.gather(*(reporter.posted(attempt) for attempt in ("a", "b", "a")))
    assert told == [["a", "b"]]
    await reporter.posted("c")
    assert told == [["a", "b"], ["c"]]


async def test_it_returns_once_the_gateway_knows() -> None:
    told: list[list[str]] = []

    def slowly(batch: list[str]) -> None:
        time.sleep(0.1)
        told.append(batch)

    await AttemptsPostedReporter(slowly).posted("a")
    assert told == [["a"]]


async def test_what_comes_while_it_tells_is_told_next() -> None:
    told: list[list[str]] = []
    telling, go = threading.Event(), threading.Event()

    def slowly(batch: list[str]) -> None:
        told.append(batch)
        telling.set()
        go.wait(5)

    reporter = AttemptsPostedReporter(slowly, every=0.01)
    first = asyncio.create_task(reporter.posted("a"))
    await asyncio.to_thread(telling.wait, 5)
    second = asyncio.create_task(reporter.posted("b"))
    await asyncio.sleep(0.05)
    go.set()
    await asyncio.gather(first, second)
    assert told == [["a"], ["b"]]


async def test_a_gateway_that_is_away_is_logged_and_harmless() -> None:
    def away(batch: list[str]) -> None:
        raise ConnectionError("secret-looking text")

    reporter = AttemptsPostedReporter(away, every=0.01)
    with structlog.testing.capture_logs() as logs:
        await reporter.posted("a")
        await reporter.posted("b")
        await asyncio.sleep(0.1)
    assert [(one["attempts"], one["error"]) for one in logs] == [(1, "ConnectionError")] * 2
    assert "secret-looking" not in str(logs)


async def test_a_gateway_that_does_not_answer_holds_up_one_task_a_moment_and_then_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempts_posted, "_PATIENCE", 0.1)
    go = threading.Event()
    reporter = AttemptsPostedReporter(lambda batch: bool(go.wait(5)) and None, every=0.0)
    started = time.monotonic()
    await reporter.posted("a")
    assert 0.08 < time.monotonic() - started < 1.0
    started = time.monotonic()
    for number in range(100):
        await reporter.posted(str(number))
    assert time.monotonic() - started < 0.1
    go.set()


async def test_a_flood_is_told_in_batches_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[list[str]] = []
    reporter = AttemptsPostedReporter(told.append, every=0.0)
    await asyncio.gather(*(reporter.posted(str(number)) for number in range(6000)))
    assert [len(batch) for batch in told] == [500] * 10
