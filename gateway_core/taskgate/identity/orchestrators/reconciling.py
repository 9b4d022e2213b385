"""The gateway asks by itself, again and again, whether attempts still live: no listener, worker or signal is needed for
what they hold to end.

Every few seconds each source is asked about the attempts that are due, and more seldom about the tasks that still ask
people for something. A source that has not answered for an attempt for `lost_after` cannot say that it lives: then it
counts as over, but what it has asked for stays. That is seen to beside the asking: a source that answers without ever
coming to an end keeps nothing alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from typing import Protocol

import structlog

from taskgate.domain import TaskKey
from taskgate.errors import StoreFault
from taskgate.identity.orchestrators.endings import Endings
from taskgate.identity.orchestrators.faults import OrchestratorAway
from taskgate.identity.orchestrators.over import Ending, Over
from taskgate.identity.orchestrators.source import Source
from taskgate.store.attempts import Attempts

log = structlog.get_logger(__name__)

_ASKING_EVERY = 15.0
_PATIENCE = 60.0


class PendingRequests(Protocol):
    """Approvals that tasks wait for."""

    def pending_tasks(self, source: str) -> AsyncIterator[tuple[TaskKey, str]]:
        """Each with what owns its request."""

    async def withdraw_all(self, owner_key: str, reason: str) -> int: ...


class Reconciling:
    """One a source and process; of several processes on a store each looks at some of the attempts."""

    def __init__(self, source: Source, attempts: Attempts, endings: Endings, requests: PendingRequests) -> None:
        self._source = source
        self._attempts = attempts
        self._endings = endings
        self._requests = requests
        self._name = source.name
        self._away = False
        self._looked = asyncio.Event()  # since what is lost was seen to

    async def run(self) -> None:
        """Until cancelled. A store or an orchestrator that is away is logged, once, and tried again. May be called
        again where it raised."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._looking())
            both.create_task(self._losing())

    async def _looking(self) -> None:
        interval = self._source.check_interval
        asked = 0.0
        while True:
            await asyncio.sleep(interval * random.uniform(0.8, 1.0))  # noqa: S311  spreads processes, guards nothing
            asked += interval
            try:
                await self.check()
                if asked >= _ASKING_EVERY:
                    asked = 0.0
                    await self.check_requests()
            except OrchestratorAway as fault:
                self._gone(fault)
            except StoreFault as fault:
                log.warning("orchestrator.store_unreachable", source=self._name, reason=fault.message)
            finally:
                self._looked.set()

    async def _losing(self) -> None:
        """After each look, as long as looks come to an end: a gateway that was down itself has to ask before it gives
        anything up. One that goes on and on is not waited for."""
        patience = self._source.check_interval + min(self._source.lost_after, _PATIENCE)
        while True:
            since = time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._looked.wait()
            if not self._looked.is_set() and time.monotonic() - since > 2 * patience:
                continue  # this process stood still: nobody was asked
            await self._lost()
            self._looked.clear()  # not sooner: a look that raised ends this loop, and the next begins here

    async def check(self) -> int:
        """Look at every attempt that is due; returns how many were over. Raises OrchestratorAway, StoreFault."""
        ended = 0
        while due := await self._attempts.due(self._name, check_in=self._source.check_interval):
            looked = await self._source.overs(due)
            self._back()
            alive = []
            for attempt in due:
                if attempt.id not in looked:
                    continue
                how = looked[attempt.id]
                if how is None:
                    alive.append(attempt.id)
                else:
                    await self._endings.end(attempt, how, told=False)
                    ended += 1
            if alive:
                await self._attempts.alive(alive)
        return ended

    async def check_requests(self) -> int:
        """Withdraw what tasks have asked for that will not come back; returns how many requests. Raises
        OrchestratorAway, StoreFault."""
        owners = {task: owner async for task, owner in self._requests.pending_tasks(self._name)}
        if not owners:
            return 0
        gone = await self._source.gone({task: await self._attempts.latest(owner) for task, owner in owners.items()})
        self._back()
        withdrawn = 0
        for task, because in gone.items():
            withdrawn += await self._requests.withdraw_all(owners[task], because)
        return withdrawn

    async def _lost(self) -> None:
        seconds = self._source.lost_after
        try:
            for attempt in await self._attempts.lost(self._name, seconds):
                why = f"{self._name} could not be asked about it for {seconds:.0f} s"
                await self._endings.end(attempt, Over(Ending.RETRIED, why), told=False)
        except StoreFault as fault:
            log.warning("orchestrator.store_unreachable", source=self._name, reason=fault.message)

    def _gone(self, fault: OrchestratorAway) -> None:
        if not self._away:
            log.warning("orchestrator.away", source=self._name, reason=fault.message)
        self._away = True

    def _back(self) -> None:
        """It has answered. Where nothing was due nobody knows."""
        if self._away:
            log.info("orchestrator.back", source=self._name)
        self._away = False
