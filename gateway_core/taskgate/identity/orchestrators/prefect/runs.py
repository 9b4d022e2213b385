"""What Prefect says of a flow run and of its task runs, and whether the attempt that they stand for still lives.

A flow run that is *paused* has a process that waits; one that is *suspended* has none, although Prefect calls both
states PAUSED: tasks that had begun go on until they end, and then the process does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from taskgate.identity.orchestrators.faults import NotProven
from taskgate.identity.orchestrators.over import Ending, Over

RUNNING = "RUNNING"
_PAUSED = "PAUSED"
_FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
_BEGINNING = frozenset({"SCHEDULED", "PENDING"})
_TASK_RUN, _FLOW_RUN = "task-run", "flow-run"
_LAST_TASKS = 60.0  # seconds that tasks of a suspended run may still go on


@dataclass(frozen=True, slots=True)
class FlowRun:
    """A flow run as Prefect has it now. `run_count` grows each time it is started. `suspended`: no process waits.
    `created_by`: who had it run, where Prefect knows (Cloud). `overrides` are the names of job variables that the run
    sets other than its deployment: whoever creates a run can choose these. `pauses`: how often it was paused or
    suspended."""

    id: str
    name: str
    flow_id: str
    deployment_id: str | None
    work_pool: str | None
    state: str
    state_name: str
    state_at: datetime
    suspended: bool
    pause_key: str | None
    run_count: int
    parent_task_run_id: str | None
    scheduled: bool
    tags: tuple[str, ...] = ()
    created_by: str | None = None
    overrides: tuple[str, ...] = ()
    pauses: int = 0

    def started_as(self, run_count: int) -> bool:
        """Whether it may be what had this count when it was started. Prefect counts the resume of a pause, after which
        the same process goes on, as another start: not always, but never more often than there were pauses."""
        return run_count <= self.run_count <= run_count + self.pauses

    @property
    def has_own_process(self) -> bool:
        """False for a subflow that runs in the process of the run that called it. What has a deployment or a work pool
        was started by itself, even where it says that another run is above it: anybody may create such a run."""
        return self.parent_task_run_id is None or self.deployment_id is not None or self.work_pool is not None

    @property
    def is_over(self) -> bool:
        return self.state in _FINAL

    @property
    def has_not_begun(self) -> bool:
        return self.state in _BEGINNING

    @property
    def is_paused(self) -> bool:
        return self.state == _PAUSED


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A task run as Prefect has recorded it. `task`: the task's name, as its author wrote it."""

    id: str
    name: str
    task: str
    flow_run_id: str | None
    state: str
    run_count: int

    @property
    def is_over(self) -> bool:
        return self.state in _FINAL


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment, the flow that it runs, and the pool whose workers start it."""

    name: str
    flow_id: str
    work_pool: str | None


@dataclass(frozen=True, slots=True)
class AttemptId:
    """The id of an attempt: `<source>:task-run:<id>:<run count>`, or `…:flow-run:…` for what the flow itself does. A
    client chooses its runs' ids: one that another Prefect has too, or a task run with a flow run's, is another's."""

    source: str
    in_task: bool
    run_id: str
    run_count: int

    def __str__(self) -> str:
        return f"{self.source}:{_TASK_RUN if self.in_task else _FLOW_RUN}:{self.run_id}:{self.run_count}"

    @classmethod
    def parse(cls, text: str) -> AttemptId | None:
        """None for what is no attempt of a Prefect's run."""
        source, *kind, run_id, count = text.rsplit(":", 3) if text.count(":") >= 3 else ("", "", "")
        if kind not in ([_TASK_RUN], [_FLOW_RUN]) or not (count.isascii() and count.isdecimal() and len(count) <= 10):
            return None
        return cls(source, kind == [_TASK_RUN], run_id, int(count))


@dataclass(frozen=True, slots=True)
class Looked:
    """What Prefect says of some runs, by id."""

    flow_runs: Mapping[str, FlowRun] = field(default_factory=dict)
    task_runs: Mapping[str, TaskRun] = field(default_factory=dict)


def run_over(found: FlowRun | None, run_count: int) -> Over | None:
    """None while what the flow run was started as goes on, with a process or tasks that have begun."""
    if found is None:
        return Over(Ending.GONE, "Prefect knows of no such flow run")
    if found.is_over:
        return Over(Ending.FINISHED, f"the flow run is {found.state_name}")
    if found.state == "CANCELLING":
        return Over(Ending.FINISHED, "the flow run is being cancelled")
    if not found.started_as(run_count) or found.has_not_begun:
        return Over(Ending.RETRIED, "the flow run was started again")
    return None


def process_over(process: FlowRun | None, run_count: int | None = None) -> Over | None:
    """None while the flow run goes on in whose process a subflow runs, as it was started then, and with it the
    subflow."""
    if run_count is None:
        run_count = process.run_count if process else 0
    ended = run_over(process, run_count)
    if ended is None and process is not None and _suspended_long_ago(process):
        ended = Over(Ending.RETRIED, "the flow run is suspended")
    return Over(ended.ending, f"of the run that started it: {ended.because}") if ended else None


def over(
    attempt: AttemptId, run_count: int, flow_run: FlowRun | None, task_run: TaskRun | None
) -> Over | None:  # fmt: skip
    """None while the attempt lives. What a task asked people for belongs to the flow run, and outlives the task."""
    if (ended := run_over(flow_run, run_count)) is not None or flow_run is None:
        return ended
    if not attempt.in_task:
        return Over(Ending.RETRIED, "the flow run is suspended") if flow_run.suspended else None
    if _suspended_long_ago(flow_run):
        return Over(Ending.RETRIED, "the flow run is suspended")
    if task_run is None or task_run.flow_run_id != flow_run.id:
        return Over(Ending.RETRIED, "Prefect knows of no such task run in the flow run")
    if task_run.run_count != attempt.run_count:
        return Over(Ending.RETRIED, "another try has taken its place")
    if task_run.state != RUNNING:
        return Over(Ending.RETRIED, f"the task run is {task_run.state}")
    return None


def _suspended_long_ago(flow_run: FlowRun) -> bool:
    return flow_run.suspended and (datetime.now(UTC) - flow_run.state_at).total_seconds() > _LAST_TASKS


def running(found: FlowRun | None) -> FlowRun:
    """The flow run, if it has a process. Raises NotProven."""
    if found is None:
        raise NotProven("flow_run_not_found", "Prefect knows of no such flow run")
    if found.state != RUNNING and not (found.is_paused and not found.suspended):
        raise NotProven("flow_run_not_running", f"the flow run is {found.state_name}, not running")
    return found


def run_uuid(text: str) -> str:
    """A run's id in Prefect's own spelling. Raises NotProven: what is no UUID is no run."""
    try:
        return str(UUID(text))
    except ValueError:
        raise NotProven("flow_run_not_found", "a run's id is a UUID, and this is none") from None
