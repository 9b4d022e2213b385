"""What the demo asks of an orchestrator: an Airflow, whichever form it has, or a Prefect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from taskgate.demo.forms import Form


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How a task ended. `state` is the orchestrator's own word. `attempts` are the ids of its tries as the gateway
    knows them, oldest first; none where the orchestrator cannot be asked. Not `started`: one before it has failed."""

    state: str
    value: object = None
    attempts: tuple[str, ...] = ()
    started: bool = True

    @property
    def succeeded(self) -> bool:
        return self.state in ("success", "COMPLETED")

    @property
    def failed(self) -> bool:
        return self.state in ("failed", "FAILED")


class Orchestrator(Protocol):
    """It runs the example once: `prepare`, `start`, then `running` until it ends; `tasks` afterwards. Methods raise
    RuntimeError with the end of what it printed."""

    @property
    def form(self) -> Form: ...

    @property
    def keys_on_workers(self) -> Sequence[str]:
        """The gateway's keys in the environment of what runs tasks and their authors' code: names, never values."""

    def prepare(self, say: Callable[[str], None]) -> None:
        """Everything until the example can run. `say` is told how it goes."""

    def start(self, say: Callable[[str], None]) -> None: ...

    @property
    def running(self) -> bool: ...

    def waiting(self, task_id: str) -> tuple[str | None, int | None]:
        """Of a task that waits for a human just now: what the orchestrator calls it (Prefect: its run), and how many
        processes its run has. None where that cannot be asked."""

    def tasks(self) -> Mapping[str, TaskEnd]: ...

    def task_log(self, task_id: str) -> Sequence[str]:
        """What Taskgate wrote into a task's own log; empty where there is no log of one task."""

    def log(self) -> str:
        """Everything that the orchestrator and its tasks printed."""

    def kept(self) -> Mapping[str, bytes]:
        """Everything that it or its tasks have printed, stored or been told, by what completes "anything …"."""

    @property
    def look_around(self) -> str:
        """Where its pages are and who may sign in; empty where it has none."""

    def stop(self) -> None: ...
