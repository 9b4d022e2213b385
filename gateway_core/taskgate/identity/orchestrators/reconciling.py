"""The gateway asks by itself, again and again, whether attempts still live: no listener, worker or signal is needed for
what they hold to end.

Every few seconds each source is asked about the attempts that are due, and more seldom about the tasks that still ask
people for something. A source that has not answered for an attempt for `lost_after` cannot say that it lives: then it
counts as over, but what it has asked for stays.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Protocol

import structlog

from taskgate.domain import TaskKey
from taskgate.errors import StoreFault
from taskgate.identity.orchestrators.airflow.instances import FINAL, Ending, Over, over
from taskgate.identity.orchestrators.airflow.source import AirflowSource
from taskgate.identity.orchestrators.faults import OrchestratorAway
from taskgate.identity.orchestrators.orchestrators import Orchestrators

log = structlog.get_logger(__name__)

_ASKING_EVERY = 15.0


class PendingRequests(Protocol):
    """Approvals that tasks wait for."""

    def pending_tasks(self, source: str) -> AsyncIterator[TaskKey]: ...
    async def withdraw_all(self, owner_key: str, reason: str) -> int: ...


class Reconciling:
    """One a source and process; of several processes on a store each looks at some of the attempts."""

    def __init__(self, orchestrators: Orchestrators, source: AirflowSource, requests: PendingRequests) -> None:
        self._orchestrators = orchestrators
        self._attempts = orchestrators.attempts
        self._source = source
        self._requests = requests
        self._name = source.settings.source
        self._away = False

    async def run(self) -> None:
        """Until cancelled. A store or an orchestrator that is away is logged, once, and tried again."""
        interval = self._source.settings.check_interval
        asked = 0.0
        while True:
            await asyncio.sleep(interval * random.uniform(0.8, 1.0))  # noqa: S311  spreads processes, guards nothing
            asked += interval
            try:
                await self.check()
                if asked >= _ASKING_EVERY:
                    asked = 0.0
                    await self.check_requests()
                self._back()
            except OrchestratorAway as fault:
                self._gone(fault)
            except StoreFault as fault:
                log.warning("orchestrator.store_unreachable", source=self._name, reason=fault.message)
            await self._lost()

    async def check(self) -> int:
        """Look at every attempt that is due; returns how many were over. Raises OrchestratorAway, StoreFault."""
        ended = 0
        while due := await self._attempts.due(self._name, check_in=self._source.settings.check_interval):
            looked = await self._source.look(attempt.task for attempt in due)
            alive = []
            for attempt in due:
                if attempt.task in looked.unanswered:
                    continue
                how = over(attempt.id, attempt.max_tries, looked.found.get(attempt.task))
                if how is None:
                    alive.append(attempt.id)
                else:
                    await self._orchestrators.endings.end(attempt, how, told=False)
                    ended += 1
            if alive:
                await self._attempts.alive(alive)
        return ended

    async def check_requests(self) -> int:
        """Withdraw what tasks have asked for that will not come back; returns how many requests. Raises
        OrchestratorAway, StoreFault."""
        tasks = {task async for task in self._requests.pending_tasks(self._name)}
        if not tasks:
            return 0
        looked = await self._source.look(tasks)
        withdrawn = 0
        for task in tasks - looked.unanswered:
            owner_key = f"task:{task}"
            latest = await self._attempts.latest(owner_key)
            instance = looked.found.get(task)
            because = None
            if instance is None:
                because = "Airflow knows of no such task instance"
            elif instance.state in FINAL:
                because = f"the task instance is {instance.state}"
            elif latest is not None and latest.max_tries != instance.max_tries:
                because = "the task was cleared"
            if because is not None:
                withdrawn += await self._requests.withdraw_all(owner_key, because)
        return withdrawn

    async def _lost(self) -> None:
        seconds = self._source.settings.lost_after
        try:
            for attempt in await self._attempts.lost(self._name, seconds):
                why = f"Airflow {self._name} could not be asked about it for {seconds:.0f} s"
                await self._orchestrators.endings.end(attempt, Over(Ending.RETRIED, why), told=False)
        except StoreFault as fault:
            log.warning("orchestrator.store_unreachable", source=self._name, reason=fault.message)

    def _gone(self, fault: OrchestratorAway) -> None:
        if not self._away:
            log.warning("orchestrator.away", source=self._name, reason=fault.message)
        self._away = True

    def _back(self) -> None:
        if self._away:
            log.info("orchestrator.back", source=self._name)
        self._away = False
