"""The examples that the demo runs, below `examples/` of the source tree, and what is expected of their tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from taskgate.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Waiting:
    """How a task is while a human is asked: whether it holds a connection, what its orchestrator calls it (Prefect: its
    flow run), and how many processes its run has. None where the orchestrator cannot be asked."""

    holds_connection: bool
    state: str | None = None
    processes: int | None = None

    def fits(self, promised: Waiting) -> bool:
        """What could not be asked is not held against it."""
        return (
            self.holds_connection is promised.holds_connection
            and self.state in (None, promised.state)
            and self.processes in (None, promised.processes)
        )


@dataclass(frozen=True, slots=True)
class Deletion:
    """A task that deletes the orders of `status` before `before`, once a human approves; `how` says what it `waits` as
    until then."""

    task_id: str
    status: str
    before: str
    waits: Waiting
    how: str


@dataclass(frozen=True, slots=True)
class Example:
    """A DAG or flow of `orchestrator`'s (`kind` is what that calls it). The gateway's records name it by `id`, as their
    `dag_id`. `tasks` are in the order of the story. `opens_with` names who opens its connections with statements of
    their own, where there are so many that they are only counted."""

    orchestrator: str
    kind: str
    id: str
    source: str
    directory: str
    tasks: tuple[str, ...]
    deletions: tuple[Deletion, ...]
    opens_with: str | None = None

    @property
    def folder(self) -> Path:
        """Raises SettingsError where Taskgate was installed without its source tree."""
        folder = Path(__file__).resolve().parents[3] / "examples" / self.directory
        if not (folder / "policy.yaml").exists():
            raise SettingsError(
                f"The demo's {self.kind} is not at {folder}.", hint="Run `make demo` in a clone of the repository."
            )
        return folder


AIRFLOW = Example(
    orchestrator="Airflow",
    kind="DAG",
    id="orders_cleanup",
    source="demo-airflow",
    directory="airflow",
    tasks=("read_customers", "drop_orders", "delete_old_orders_stock", "delete_old_orders_governed"),
    deletions=(
        Deletion(
            "delete_old_orders_stock", "cancelled", "2024-07-01",
            Waiting(holds_connection=True, state="running"), "waits on its connection",
        ),
        Deletion(
            "delete_old_orders_governed", "shipped", "2024-04-01",
            Waiting(holds_connection=False, state="deferred"), "defers and holds no connection",
        ),
    ),
)  # fmt: skip

PREFECT = Example(
    orchestrator="Prefect",
    kind="flow",
    id="orders-cleanup",
    source="demo-prefect",
    directory="prefect",
    tasks=("read_customers", "drop_orders", "delete_cancelled_orders", "delete_shipped_orders"),
    deletions=(
        Deletion(
            "delete_cancelled_orders", "cancelled", "2024-07-01",
            Waiting(holds_connection=False, state="Suspended", processes=0),
            "has its run suspended, of which no process lives,",
        ),
        Deletion(
            "delete_shipped_orders", "shipped", "2024-04-01",
            Waiting(holds_connection=False, state="Paused", processes=1),
            "asks ahead and holds no connection",
        ),
    ),
    opens_with="SQLAlchemy and psycopg",
)  # fmt: skip
