"""Waiting until Prefect has recorded a task run: a client tells it of them in events, so a moment after they began."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from taskgate.identity.orchestrators.faults import NotProven
from taskgate.identity.orchestrators.prefect.rest import PrefectRest
from taskgate.identity.orchestrators.prefect.runs import RUNNING, TaskRun

_LOOK_AGAIN = 0.02  # seconds from look to look; Prefect takes 20 to 50 ms to record one
_REST = 0.1  # of what a look took, at least: who answers slowly is given time for other work


class RecordedTaskRuns:
    """One Prefect's. All that wait are looked for together, one look at a time: however many wait, and for whatever
    ids, Prefect is asked no more often. `within`: seconds that it is waited for."""

    def __init__(self, rest: PrefectRest, within: float) -> None:
        self._rest = rest
        self._within = within
        self._wanted: set[str] = set()
        self._next: asyncio.Task[Mapping[str, TaskRun]] | None = None
        self._one_look = asyncio.Lock()
        self._pause = _LOOK_AGAIN

    async def running(self, task_run_id: str, run_count: int) -> TaskRun:
        """The task run in its `run_count`-th try, running. Raises NotProven, OrchestratorAway."""
        until = time.monotonic() + self._within
        with self._timed():
            found = await self._rest.task_run(task_run_id)
        while found is None or found.run_count != run_count or found.state != RUNNING:
            if found is not None and found.run_count > run_count:
                raise NotProven("task_run_superseded", "another try of this task run has taken the attempt's place")
            if found is not None and found.run_count == run_count and found.is_over:
                break
            if time.monotonic() >= until:
                break
            found = await self._look(task_run_id)
        if found is None:
            raise NotProven("task_run_not_found", "Prefect knows of no such task run")
        if found.run_count != run_count or found.state != RUNNING:
            raise NotProven(
                "task_run_not_running", f"the task run is {found.state} in its try {found.run_count}, not running"
            )
        return found

    async def _look(self, task_run_id: str) -> TaskRun | None:
        if self._next is None:
            self._next = asyncio.create_task(self._look_for_all())
            self._next.add_done_callback(heard)
        self._wanted.add(task_run_id)
        return (await asyncio.shield(self._next)).get(task_run_id)

    async def _look_for_all(self) -> Mapping[str, TaskRun]:
        await asyncio.sleep(self._pause)
        async with self._one_look:
            wanted, self._wanted, self._next = self._wanted, set(), None  # who comes from now on gets the next look
            with self._timed():
                return (await self._rest.look((), wanted)).task_runs

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """The longer a look took, the sooner comes the next: Prefect has gone on recording task runs meanwhile."""
        began = time.monotonic()
        try:
            yield
        finally:
            took = time.monotonic() - began
            self._pause = max(_LOOK_AGAIN - took, _REST * took)


def heard(look: asyncio.Task[Any]) -> None:
    """A look's error is told to those who wait for it; where all of them went away, nobody misses it."""
    if not look.cancelled():
        look.exception()
