"""What the runs in this process have done already: whether starting one again from its top would do it twice."""

from __future__ import annotations

import threading
from uuid import UUID

from taskgate_prefect import compat
from taskgate_prefect.approvals.waiting import Manner
from taskgate_prefect.run_attempt import RunAttempt, attempt_of


class Progress:
    """A suspended run is started again from its top: what its tasks have finished is not repeated, everything else is.
    So a run is suspended only while nothing has been executed by what would be repeated: by the refused task itself
    (rows it has read are no matter), by a flow's body, or by a task that waits in this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # `ended` may run wherever Python collects garbage
        self._executed: set[RunAttempt] = set()
        self._waiting_here: dict[UUID, int] = {}

    def executed(self, attempt: RunAttempt) -> None:
        with self._lock:
            self._executed.add(attempt)

    def ended(self, attempt: RunAttempt) -> None:
        """Nothing of a task that is over is repeated. A body's stays until its run is over."""
        with self._lock:
            self._executed -= {one for one in self._executed.copy() if attempt.includes(one)}

    def manner(self, running: compat.RunningFlow, *, repeatable: bool = False) -> tuple[Manner, str]:
        """How it waits, and why it is not suspended. `repeatable`: what the asking code has executed itself does not
        count, since its author lets it run again."""
        attempt = attempt_of(running)
        with self._lock:
            executed = self._executed - {attempt} if repeatable else self._executed
            repeated = attempt in executed or any(one.task_run_id is None for one in executed)
            waiting = self._waiting_here.get(running.flow_run_id, 0) > 0
        obstacles = (
            (not running.deployed, "it has no deployment"),
            (not running.persists, "it keeps no results (persist_result)"),
            (running.subflow, "it is a subflow"),
            (running.elsewhere, "the task runs in another process than its flow"),
            (repeated, "what it has executed would be executed again"),
            (waiting, "another of its tasks waits in this process"),
        )
        why = next((why for there, why in obstacles if there), "")
        return (Manner.PAUSE if why else Manner.SUSPEND), why

    def waits_here(self, flow_run_id: UUID, count: int) -> None:
        """One more (1) or one less (-1) waits in this process without leaving it."""
        with self._lock:
            self._waiting_here[flow_run_id] = self._waiting_here.get(flow_run_id, 0) + count
            if not self._waiting_here[flow_run_id]:
                del self._waiting_here[flow_run_id]


in_this_process = Progress()
