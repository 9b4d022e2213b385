"""Which run this code is part of: what credentials and sessions belong to."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from taskgate_prefect import compat
from taskgate_prefect.faults import NotInRun


@dataclass(frozen=True, slots=True)
class RunAttempt:
    """One try of a task run, or the body of a flow run (`task_run_id` None)."""

    flow_run_id: UUID
    task_run_id: UUID | None
    run_count: int

    def includes(self, other: RunAttempt) -> bool:
        """A flow's body includes what its tasks do."""
        return self == other or (self.task_run_id is None and self.flow_run_id == other.flow_run_id)


def current_run() -> compat.RunningFlow:
    """Raises NotInRun outside a flow run."""
    if (running := compat.running_flow()) is None:
        raise NotInRun(
            "Taskgate lets in flow runs and their tasks, and this code runs outside of one. Call it from a function "
            "with @flow, or from a task of such a flow."
        )
    return running


def current_attempt() -> RunAttempt:
    """Raises NotInRun outside a flow run."""
    return attempt_of(current_run())


def attempt_of(running: compat.RunningFlow) -> RunAttempt:
    if running.task_run_id is None:
        return RunAttempt(running.flow_run_id, None, running.run_count)
    return RunAttempt(running.flow_run_id, running.task_run_id, running.task_run_count)
