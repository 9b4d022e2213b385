"""Runs of the approval DAGs (`approval_dags/`): what they ask for, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from taskgate.client import models
from taskgate.domain import ApprovalState
from tests.e2e.airflow_api import Run, TaskInstance
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import Shop

TASK = "changes"
_rows: Iterator[int] = count(1)


@dataclass(frozen=True)
class Asking:
    """A run whose task changes one row of the shop, if somebody approves. `state` of Airflow's that it waits in."""

    airflow: RealAirflow
    shop: Shop
    run: Run
    waits_in: str = "deferred"
    row: int = 0

    @property
    def task(self) -> TaskInstance:
        return self.run.task(TASK)

    def requests(self) -> list[models.Approval]:
        """All that was ever asked, the newest first."""
        with self.shop.client() as client:
            return list(client.approvals(run_id=self.run.run_id))

    def waiting(self, seconds: float = 90, *, map_index: int = -1, try_number: int | None = None) -> models.Approval:
        """The one request that is pending, once the task waits for it."""
        waits = self.run.wait(TASK, self.waits_in, seconds, map_index=map_index, try_number=try_number)
        self.settled(waits)
        (found,) = [one for one in self.requests() if one.state == "pending" and index_of(one) == map_index]
        return found

    def settled(self, instance: TaskInstance, times: int = 1) -> None:
        """Once the scheduler has heard from its executor that the try's worker is through, so many times. A task that
        is resumed before that is a failed one to Airflow, whatever resumes it."""
        heard = f"run_id='{self.run.run_id}', try_number={instance.try_number}, map_index={instance.map_index})"
        log = self.airflow.components["scheduler"].log

        def lines() -> bool:
            said = (line for line in log.read_text(errors="replace").splitlines() if "Received executor event" in line)
            return sum(heard in line for line in said) >= times

        self.airflow.until(lines, 60)

    def decide(self, approval: models.Approval, approve: bool = True, comment: str | None = None) -> None:
        """As dana, at the gateway."""
        with self.shop.client() as client:
            (client.approve if approve else client.deny)(approval.id, comment)

    def state(self, approval: models.Approval) -> ApprovalState:
        return self.now(approval).state

    def now(self, approval: models.Approval) -> models.Approval:
        with self.shop.client() as client:
            return client.approval(approval.id)

    def changed(self) -> list[int]:
        """The rows that this run has changed."""
        found = self.shop.query(f"SELECT id FROM customers WHERE city = '{self.run.run_id}' ORDER BY id")
        return [row[0] for row in found]

    def logs(self, text: str, try_number: int = 1, map_index: int = -1) -> str:
        """The try's log, once this stands in it: its last lines come after its state."""
        self.airflow.until(lambda: text in self.log(try_number, map_index), 15)
        return self.log(try_number, map_index)

    def log(self, try_number: int = 1, map_index: int = -1) -> str:
        return self.run.log(TASK, try_number, map_index)

    def succeeds(self, seconds: float = 60) -> TaskInstance:
        """Once the task has; exactly its row has changed then."""
        one = self.run.wait(TASK, "success", seconds)
        assert self.changed() == [self.row]
        return one

    def fails(self, seconds: float = 60) -> TaskInstance:
        """Once the task has, for good; nothing has changed then."""
        one = self.run.wait(TASK, "failed", seconds)
        assert self.changed() == []
        return one

    def withdrawn(self, approval: models.Approval, seconds: float = 20) -> models.Approval:
        """Once the request is."""
        self.airflow.until(lambda: self.now(approval).state == "withdrawn", seconds)
        return self.now(approval)


def index_of(approval: models.Approval) -> int:
    assert approval.principal.attempt is not None
    return approval.principal.attempt.task.map_index


def ask(airflow: RealAirflow, shop: Shop, dag_id: str, waits_in: str = "deferred", **conf: object) -> Asking:
    """Trigger a run; it need not have asked yet when this returns."""
    row = next(_rows)
    run = airflow.admin.trigger(dag_id, {"row": row, **conf})
    return Asking(airflow, shop, run, waits_in, row)
