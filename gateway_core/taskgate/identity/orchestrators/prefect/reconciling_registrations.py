"""Registered flow runs end with their flow runs, whether or not these were ever issued anything: a token that outlived
its run would count again for whoever sets the run's state back to running."""

from __future__ import annotations

import asyncio
import random

import structlog

from taskgate.errors import StoreFault
from taskgate.identity.orchestrators.faults import OrchestratorAway
from taskgate.identity.orchestrators.prefect.runs import run_over
from taskgate.identity.orchestrators.prefect.source import PrefectSource
from taskgate.identity.registered_runs import RegisteredRuns

log = structlog.get_logger(__name__)

EVERY = 15.0


class ReconcilingRegistrations:
    """Of one Prefect, in one process; several on a store may look at the same ones."""

    def __init__(self, source: PrefectSource, registered: RegisteredRuns) -> None:
        self._source = source
        self._registered = registered

    async def run(self) -> None:
        """Until cancelled. That Prefect is away is said by those who look after attempts."""
        while True:
            await asyncio.sleep(EVERY * random.uniform(0.8, 1.0))  # noqa: S311  spreads processes, guards nothing
            try:
                await self.check()
            except (OrchestratorAway, StoreFault) as fault:
                log.info("prefect.registrations_not_checked", source=self._source.name, reason=fault.message)

    async def check(self) -> int:
        """Look at every run that is registered; returns how many were over. Raises OrchestratorAway, StoreFault."""
        ended, after = 0, ""
        while some := await self._registered.live(self._source.name, after):
            found = (await self._source.rest.look((flow_run for _, flow_run in some), ())).flow_runs
            for run_id, flow_run_id in some:
                flow_run = found.get(flow_run_id)
                over = run_over(flow_run, flow_run.run_count if flow_run else 0)
                if over is not None and over.withdraws:
                    await self._registered.end(run_id, over.because)
                    ended += 1
            after = some[-1][0]
        return ended
