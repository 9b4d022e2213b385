"""What the demo asks of an Airflow, whichever form it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from taskgate.demo.forms import Form


class Airflow(Protocol):
    """It runs the example's DAG once: `prepare`, `start`, then `running` until it ends; `result` afterwards. Methods
    raise RuntimeError with the end of what it printed."""

    @property
    def form(self) -> Form: ...

    @property
    def keys_on_workers(self) -> Sequence[str]:
        """The gateway's keys in the environment of what runs tasks and DAGs' code: names, never values."""

    def prepare(self, say: Callable[[str], None]) -> None:
        """Everything until a DAG can run. `say` is told how it goes."""

    def start(self, say: Callable[[str], None]) -> None: ...

    @property
    def running(self) -> bool: ...

    def waiting_state(self, task_id: str) -> str | None:
        """What Airflow calls a task that waits for a human just now; None where Airflow cannot be asked."""

    def result(self) -> Mapping[str, Any]:
        """The run's state, and of each task its state and value; its attempt's id where Airflow can be asked."""

    def task_log(self, task_id: str) -> Sequence[str]:
        """What the provider wrote into a task's own log; empty where there is no log of one task."""

    def log(self) -> str:
        """Everything that Airflow and its tasks printed."""

    @property
    def look_around(self) -> str:
        """Where its pages are and who may sign in; empty where it has none."""

    def stop(self) -> None: ...
