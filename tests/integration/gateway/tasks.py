"""Task attempts as the tests' Airflow claims them, and connections with their credentials."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field

import psycopg

from taskgate.client import Client, TaskClaim
from taskgate.demo.stage import SOURCE, TARGET

_runs = itertools.count()


@dataclass(frozen=True)
class Task:
    """A task of a run of its own; `attempt()` is another try of it."""

    airflow: Client
    run_id: str = field(default_factory=lambda: f"run-{next(_runs)}")

    def connect(self, *, try_number: int = 1, wait: str = "hold", by: str | None = None) -> psycopg.Connection:
        """A new attempt's credential, and a connection with it."""
        claim = TaskClaim(
            source=SOURCE, dag_id="tests", run_id=self.run_id, task_id="clean", try_number=try_number,
            attempt_id=str(uuid.uuid4()), attributes={"triggering_user": by} if by else {},
        )  # fmt: skip
        issued = self.airflow.issue_credential(TARGET, principal=claim)
        return psycopg.connect(
            issued.dsn.get_secret_value(), autocommit=True, options=f"-c taskgate.wait={wait}", connect_timeout=10
        )
