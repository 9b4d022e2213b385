"""What Airflow says of a task instance, and whether the attempt that it stands for still lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from taskgate.domain import AttributeValue, TaskKey
from taskgate.identity.orchestrators.faults import NotProven
from taskgate.identity.orchestrators.over import Ending, Over

RUNNING = "running"
_RESTARTING = "restarting"  # cleared while it ran: the worker is still being ended
DEFERRED = "deferred"

# States in which an attempt is not over although no worker runs it, as long as the instance keeps its id.
WAITING = frozenset({DEFERRED, "awaiting_input", "up_for_reschedule", "scheduled", "queued"})
ALIVE = WAITING | {RUNNING}
# States out of which nothing comes by itself: no retry will ask again.
FINAL = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """A task instance as Airflow has it now. `id` changes with every try; `max_tries` when somebody clears it, and
    never by a retry."""

    id: str
    task: TaskKey
    state: str | None
    try_number: int
    max_tries: int
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


def over(attempt_id: str, max_tries: int, found: TaskInstance | None) -> Over | None:
    """None while the attempt lives. `found`: what now stands where the attempt was started, None where nothing does;
    `max_tries` is what the instance had then."""
    if found is None:
        return Over(Ending.GONE, "Airflow knows of no such task instance")
    if found.max_tries != max_tries or found.state == _RESTARTING:
        return Over(Ending.CLEARED, "the task was cleared")
    if found.id != attempt_id:
        return Over(Ending.RETRIED, "another try has taken its place")
    if found.state in ALIVE:
        return None
    if found.state in FINAL:
        return Over(Ending.FINISHED, f"the task instance is {found.state}")
    return Over(Ending.RETRIED, f"the task instance is {found.state or 'not scheduled'}")


def in_state(instance: TaskInstance | None, attempt_id: str, state: str) -> TaskInstance:
    """The instance, if it is this attempt in this state. Raises NotProven."""
    if instance is None:
        raise NotProven("instance_not_found", "Airflow knows of no such task instance")
    if instance.id != attempt_id:
        raise NotProven("instance_superseded", "another try of this task has taken the attempt's place")
    if instance.state != state:
        raise NotProven(
            "instance_not_" + state, f"the task instance is {instance.state or 'not scheduled'}, not {state}"
        )
    return instance
