"""How often a Prefect is asked for a task run that it has not recorded yet. The Prefect here only says how late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from taskgate.identity.orchestrators.prefect.recorded import RecordedTaskRuns


class LatePrefect:
    """Answers each look after `takes` seconds; the fifth finds the task run."""

    def __init__(self, takes: float) -> None:
        self.takes = takes
        self.looks: list[tuple[float, float]] = []

    async def task_run(self, task_run_id: str) -> Any:
        return (await self.look((), [task_run_id])).task_runs.get(task_run_id)

    async def look(self, _flow_runs: Iterable[str], task_runs: Iterable[str]) -> Any:
        began = time.monotonic()
        await asyncio.sleep(self.takes)
        self.looks.append((began, time.monotonic()))
        there = SimpleNamespace(run_count=1, state="RUNNING", is_over=False)
        return SimpleNamespace(task_runs=dict.fromkeys(task_runs, there) if len(self.looks) >= 5 else {})

    async def looked_for(self) -> list[tuple[float, float]]:
        """From the beginning of each look to that of the next, and from its end."""
        await RecordedTaskRuns(self, 10).running("one", 1)  # type: ignore[arg-type]
        return [(after[0] - before[0], after[0] - before[1]) for before, after in pairwise(self.looks)]


async def test_who_answers_at_once_is_asked_each_20_ms_at_most() -> None:
    assert all(since_last > 0.019 for since_last, _ in await LatePrefect(0.001).looked_for())


@pytest.mark.parametrize("takes", [0.05, 0.3])
async def test_who_answers_late_is_asked_again_after_a_tenth_of_that(takes: float) -> None:
    """It has gone on recording meanwhile, and its next answer takes as long: 20 ms more each would be the task's."""
    prefect = LatePrefect(takes)
    pauses = [since_end for _, since_end in await prefect.looked_for()]
    assert all(pause > 0.09 * takes for pause in pauses)
    assert min(pauses) < 0.01 + 0.1 * takes
    assert all(before[1] <= after[0] for before, after in pairwise(prefect.looks))  # one at a time
