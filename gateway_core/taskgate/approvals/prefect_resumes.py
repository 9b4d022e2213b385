"""Flow runs that are paused or suspended until an approval is decided: the gateway resumes them, and nothing more.

Which approval a run waits for stands in its pause key (`apr_…-<anything>`). A resume decides nothing: the run asks the
gateway what became of its request, and what runs is judged again. So it does no harm that anybody with access to
Prefect can write such a key, or resume by hand; and a resume that is lost is made up for by the next sweep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import structlog

from taskgate.approvals.requests import Approvals
from taskgate.domain import Approval, ApprovalState
from taskgate.errors import TaskgateError
from taskgate.store.ids import IdPrefix, is_id
from taskgate.store.signals import Signal, SignalKind, Signals

log = structlog.get_logger(__name__)

SWEEP_EVERY = 10.0
# The form of a run that has just been paused may not be there yet, and Prefect takes no input without it.
_TRIES = (0.0, 0.3, 1.0, 2.0)
SETTLED = 5.0
"""Seconds that a run stays suspended at least: the process that suspended it is on its way out, and Prefect's own
worker (3.7) takes a run that is started again before that has ended for crashed."""


class PausedRun(Protocol):
    """`identity/orchestrators/prefect/runs.py: FlowRun`, as far as this goes."""

    @property
    def id(self) -> str: ...
    @property
    def pause_key(self) -> str | None: ...
    @property
    def is_paused(self) -> bool: ...
    @property
    def suspended(self) -> bool: ...
    @property
    def state_at(self) -> datetime: ...


class Runs(Protocol):
    """The flow runs of one Prefect. All raise TaskgateError where it is away."""

    async def flow_run(self, run_id: str) -> PausedRun | None: ...
    async def paused(self) -> Sequence[PausedRun]: ...
    async def resume(self, run_id: str, run_input: Mapping[str, str]) -> str | None:
        """None where it was done, else why not."""


class PrefectResumes:
    """One Prefect's, in one process. Several on a store may resume the same run: the second finds it running."""

    def __init__(self, source: str, runs: Runs, approvals: Approvals) -> None:
        self._source = source
        self._runs = runs
        self._approvals = approvals
        self._resuming: set[asyncio.Task[None]] = set()
        self._refused: set[str] = set()
        self._away = False

    async def run(self, signals: Signals) -> None:
        """Until cancelled."""
        unsubscribe = signals.subscribe(SignalKind.APPROVAL_DECIDED, self._heard)
        try:
            while True:
                try:
                    await self.sweep()
                    self._away = False
                except TaskgateError as fault:
                    if not self._away:
                        log.warning("prefect.runs_not_resumed", source=self._source, reason=fault.message)
                    self._away = True
                await asyncio.sleep(SWEEP_EVERY)
        finally:
            unsubscribe()

    async def sweep(self) -> int:
        """Resume every run that waits for what is decided already; returns how many. Raises TaskgateError."""
        resumed = 0
        waiting = {run.id: (run, key) for run in await self._runs.paused() if (key := _waits_for(run)) is not None}
        states = await self._approvals.states([key for _, key in waiting.values()]) if waiting else {}
        for run, key in waiting.values():
            if states.get(key, ApprovalState.PENDING) is not ApprovalState.PENDING and not _unsettled(run):
                approval = await self._approvals.get(key)
                if approval is not None and await self.resume(approval, run, tries=_TRIES[:1]):
                    resumed += 1
        self._refused &= {f"{run_id} {key}" for run_id, (_, key) in waiting.items()}
        return resumed

    async def resume(
        self, approval: Approval, run: PausedRun | None = None, *, tries: Sequence[float] = _TRIES
    ) -> bool:
        """Resume the run that waits for this approval, if it does. `tries`: seconds before each. Raises
        TaskgateError."""
        task = approval.principal.task
        if task is None or task.source != self._source:
            return False
        run = run or await self._runs.flow_run(task.run_id)
        if run is None or run.id != task.run_id or not run.is_paused or _waits_for(run) != approval.id:
            return False
        refusal = None
        for pause in tries:
            await asyncio.sleep(pause)
            refusal = await self._runs.resume(run.id, {"approval_id": approval.id, "decision": approval.state.value})
            if refusal is None:
                log.info("prefect.run_resumed", source=self._source, flow_run=run.id, approval=approval.id)
                return True
        said = f"{run.id} {approval.id}"
        if said not in self._refused:  # once: every sweep finds it again
            self._refused.add(said)
            log.warning("prefect.resume_refused", source=self._source, flow_run=run.id, reason=str(refusal)[:200])
        return False

    def _heard(self, heard: Signal) -> None:
        task = asyncio.create_task(self._resume_decided(heard.subject))
        self._resuming.add(task)
        task.add_done_callback(self._resuming.discard)

    async def _resume_decided(self, approval_id: str) -> None:
        try:
            approval = await self._approvals.get(approval_id)
            if approval is None or approval.state is ApprovalState.PENDING:
                return
            task = approval.principal.task
            run = await self._runs.flow_run(task.run_id) if task and task.source == self._source else None
            if run is not None and (seconds := _unsettled(run)):
                await asyncio.sleep(seconds)
                run = None
            await self.resume(approval, run)
        except TaskgateError as fault:  # the sweep comes by
            log.info("prefect.run_not_resumed_yet", source=self._source, approval=approval_id, reason=fault.message)


def _unsettled(run: PausedRun) -> float:
    """Seconds until it may be resumed. By Prefect's clock: where that is far from this one it is not waited for."""
    since = (datetime.now(UTC) - run.state_at).total_seconds()
    return SETTLED - max(0.0, since) if run.suspended and abs(since) < SETTLED else 0.0


def _waits_for(run: PausedRun) -> str | None:
    approval_id = (run.pause_key or "").partition("-")[0]
    return approval_id if is_id(IdPrefix.APPROVAL, approval_id) else None
