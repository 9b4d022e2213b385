"""A real gateway before the demo's database, and connections of Airflow's that hold credentials of its tasks."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field
from urllib.parse import quote

from taskgate.client import Approval, Client, IssuedCredential, TaskClaim
from tests.e2e.shop import Shop

POLICY = """\
version: 1
rules:
  - id: reads
    match:
      targets: [orders-db]
      principals: {kind: task, assurance: asserted}
      effects: [sql.select]
      objects: ["public.*"]
    verdict: allow
  - id: copies-customers
    match:
      targets: [orders-db]
      principals: {kind: task, assurance: asserted}
      effects: [sql.copy_out]
      objects: [public.customers]
    verdict: allow
  - id: writes-orders
    match:
      targets: [orders-db]
      principals: {kind: task, assurance: asserted}
      effects: [sql.insert, sql.copy_in]
      objects: [public.orders]
    verdict: allow
  - id: humans-decide
    match:
      targets: [orders-db]
      principals: {kind: task, assurance: asserted}
      effects: [sql.delete, sql.update, sql.copy_out]
      objects: [public.orders]
    verdict: approve
    approval: {from: ["group:dba"], hold: 2s, expires: 1h}
  - id: new-customers-need-a-human
    match:
      targets: [orders-db]
      principals: {kind: task, assurance: asserted}
      effects: [sql.insert]
      objects: [public.customers]
    verdict: approve
    approval: {from: ["group:dba"], hold: 2s, expires: 1h}
  - id: no-ddl
    match: {targets: ["*-db"], effects: [sql.ddl]}
    verdict: deny
    reason: Schema changes go through migrations.
masks:
  - {id: ssn, targets: [orders-db], columns: ["*.ssn"], with: redact}
"""

_runs = itertools.count()


@dataclass
class GovernedShop:
    """The shop, as one task of a run of its own sees it. `attempt` is that task's current try."""

    shop: Shop
    run_id: str = field(default_factory=lambda: f"run-{next(_runs)}")
    attempt: str = field(default_factory=lambda: str(uuid.uuid4()))

    def credential(self) -> IssuedCredential:
        claim = TaskClaim(
            source="demo-airflow", dag_id="shop", run_id=self.run_id, task_id="clean", attempt_id=self.attempt
        )
        with Client(self.shop.gateway.url, self.shop.service_key) as client:
            return client.issue_credential("orders-db", principal=claim)

    def connection_uri(self) -> str:
        """As what the secrets backend hands to a task."""
        issued = self.credential()
        password = quote(issued.password.get_secret_value(), safe="")
        return f"postgres://{issued.user}:{password}@{issued.host}:{issued.port}/{issued.database}?sslmode=disable"

    def count(self, where: str = "true", relation: str = "orders") -> int:
        return int(self.shop.query(f"SELECT count(*) FROM {relation} WHERE {where}")[0][0])

    def approve(self, *approvals: str) -> list[Approval]:
        with self.shop.client() as client:
            return [client.approve(approval, "by the test") for approval in approvals]

    def sessions(self) -> set[str]:
        with self.shop.client() as client:
            return {
                one.id
                for one in client.sessions()
                if one.principal.attempt is not None and one.principal.attempt.id == self.attempt
            }
