from __future__ import annotations

import asyncio
import threading

import structlog

from taskgate_airflow.attempts_posted import AttemptsPostedReporter


async def test_what_comes_close_together_is_told_at_once_and_each_only_once() -> None:
    told: list[list[str]] = []
    reporter = AttemptsPostedReporter(told.append, every=0.02)
    for attempt in ("a", "b", "a"):
        reporter.posted(attempt)
    await asyncio.sleep(0.2)
    reporter.posted("c")
    await asyncio.sleep(0.2)
    assert told == [["a", "b"], ["c"]]


async def test_what_comes_while_it_tells_is_told_next() -> None:
    told: list[list[str]] = []
    telling, go = threading.Event(), threading.Event()

    def slowly(batch: list[str]) -> None:
        told.append(batch)
        telling.set()
        go.wait(5)

    reporter = AttemptsPostedReporter(slowly, every=0.01)
    reporter.posted("a")
    await asyncio.to_thread(telling.wait, 5)
    reporter.posted("b")
    go.set()
    await asyncio.sleep(0.2)
    assert told == [["a"], ["b"]]


async def test_a_gateway_that_is_away_is_logged_and_harmless() -> None:
    def away(batch: list[str]) -> None:
        raise ConnectionError("secret-looking text")

    reporter = AttemptsPostedReporter(away, every=0.01)
    with structlog.testing.capture_logs() as logs:
        reporter.posted("a")
        await asyncio.sleep(0.1)
        reporter.posted("b")
        await asyncio.sleep(0.1)
    assert [(one["attempts"], one["error"]) for one in logs] == [(1, "ConnectionError")] * 2
    assert "secret-looking" not in str(logs)


async def test_a_flood_is_told_in_batches_and_bounded() -> None:
    told: list[list[str]] = []
    reporter = AttemptsPostedReporter(told.append, every=0.0)
    for number in range(6000):
        reporter.posted(str(number))
    await asyncio.sleep(0.5)
    assert [len(batch) for batch in told] == [500] * 10
