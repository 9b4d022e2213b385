"""Everything of Prefect that is not its documented interface, and what differs between 3.7 and 3.9. Nothing else here
touches it.

    what                                             where                            3.7.7   3.9.1
    a process of a task runner has a detached        FlowRunContext.detached          same    same
    context of the flow run
    threads of a suspended run stop at their next    _flow_run_suspension             same    same
    step
    a pause's inputs are kept under keys made of     RunInput                         kept    deleted when the state is
    its name and pause key                                                                    set: save them afterwards
    `pause_flow_run` in a run that is paused raises  flow_runs                        same    same
    Pause, which ends the process: not used here
    a Pause raised in a process of a task runner     task_runners                     hangs   hangs
    never reaches the flow
    a dispatched call (`_sync=True`) looks at the    async_dispatch                   same    same
    run's context, not at the caller
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from uuid import UUID

from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import Pause
from prefect.states import Paused, Suspended


@dataclass(frozen=True, slots=True)
class RunningFlow:
    """The flow run that this code is part of. `lives`: dies with the code that asks, at the latest."""

    flow_run_id: UUID
    run_count: int
    task_run_id: UUID | None
    task_run_count: int
    deployed: bool
    subflow: bool
    elsewhere: bool
    """In a process of a task runner, not the flow's own."""
    persists: bool
    """Results of its tasks are kept, and of this one."""
    lives: object


def running_flow() -> RunningFlow | None:
    """None outside a flow run. A task outside of a flow counts as outside."""
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    run = flow.flow_run if flow else None
    if run is None or flow is None:
        if task is None or task.task_run.flow_run_id is None:
            return None
        return RunningFlow(
            task.task_run.flow_run_id, 1, task.task_run.id, task.task_run.run_count,
            deployed=False, subflow=False, elsewhere=True, persists=False, lives=task,
        )  # fmt: skip
    if task is not None and task.task_run.flow_run_id != run.id:
        task = None  # a flow that a task of another has called
    return RunningFlow(
        run.id,
        max(run.run_count, 1),
        task.task_run.id if task else None,
        max(task.task_run.run_count, 1) if task else 1,
        deployed=run.deployment_id is not None,
        subflow=run.parent_task_run_id is not None,
        elsewhere=flow.detached,
        persists=flow.persist_result and (task is None or task.persist_result),
        lives=task or flow,
    )


def paused_state(key: str, seconds: float, *, suspended: bool) -> tuple[State[Any], dict[str, str]]:
    """The state to propose, and under which keys its input is kept."""
    timeout = max(int(seconds), 1)
    state: State[Any]
    if suspended:
        state = Suspended(timeout_seconds=timeout, pause_key=key)
    else:
        state = Paused(timeout_seconds=timeout, reschedule=False, pause_key=key)
    base = re.sub(r"[^a-z0-9]+", "-", f"{state.name}-{key}".lower())  # an underscore is refused in them
    keys = {part: f"{base}-{part}" for part in ("description", "response", "schema")}
    state.state_details.run_input_keyset = keys
    return state, keys


def is_paused(state: State[Any] | None) -> bool:
    return state is not None and state.type is StateType.PAUSED


def is_running(state: State[Any] | None) -> bool:
    return state is not None and state.type is StateType.RUNNING


def is_over(state: State[Any] | None) -> bool:
    return state is not None and (state.is_final() or state.type is StateType.CANCELLING)


def is_cancelled(state: State[Any] | None) -> bool:
    return state is not None and state.type in (StateType.CANCELLED, StateType.CANCELLING)


def is_suspended(state: State[Any] | None) -> bool:
    return is_paused(state) and bool(state and state.state_details.pause_reschedule)


def pause_key(state: State[Any] | None) -> str | None:
    return state.state_details.pause_key if state is not None else None


def leave(flow_run_id: UUID, state: State[Any]) -> NoReturn:
    """End this process' part in a suspended or cancelled run: other threads stop at their next step, this one at
    once."""
    from prefect._flow_run_suspension import mark_flow_run_suspension_requested

    mark_flow_run_suspension_requested(flow_run_id, state)
    raise Pause(state=state)


def input_schema(model: type[Any]) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = model.model_json_schema(by_alias=True)
    return schema
