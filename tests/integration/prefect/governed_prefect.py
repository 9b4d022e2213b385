"""A Prefect server, the gateway that knows it, and the shop's database behind it, as flows in this process see them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from prefect.client.orchestration import get_client

from taskgate.client import Approval, Client, RequestFault
from taskgate_prefect import GovernedAsyncSqlAlchemyConnector, GovernedSqlAlchemyConnector, TaskgateGateway
from tests.e2e.shop import Shop

SOURCE = "test-prefect"

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
  - id: writes-customers
    match:
      targets: [orders-db]
      principals: {kind: task, assurance: asserted}
      effects: [sql.insert, sql.update]
      objects: [public.customers]
    verdict: allow
  - id: humans-decide
    match:
      targets: [orders-db]
      principals: {kind: task, assurance: asserted}
      effects: [sql.delete, sql.update]
      objects: [public.orders]
    verdict: approve
    approval: {from: ["group:dba"], hold: 15s, expires: 1h}
  - id: quickly
    match:
      targets: [orders-db]
      principals: {kind: task, assurance: asserted}
      effects: [sql.delete]
      objects: [public.customers]
    verdict: approve
    approval: {from: ["group:dba"], hold: 1s, expires: 3s}
  - id: no-ddl
    match: {targets: ["*-db"], effects: [sql.ddl]}
    verdict: deny
    reason: Schema changes go through migrations.
masks:
  - {id: ssn, targets: [orders-db], columns: ["*.ssn"], with: redact}
"""


@dataclass
class GovernedPrefect:
    """`decided` are the approvals that `deciding` has decided, as they were pending."""

    shop: Shop
    service_key: str
    revoking_key: str
    decided: list[Approval] = field(default_factory=list)

    def gateway(self, **fields: Any) -> TaskgateGateway:
        return TaskgateGateway(
            **{"url": self.shop.gateway.url, "source": SOURCE, "api_key": self.service_key, **fields}
        )

    def connector(self, **fields: Any) -> GovernedSqlAlchemyConnector:
        return GovernedSqlAlchemyConnector(gateway=self.gateway(), target="orders-db", **fields)

    def async_connector(self, **fields: Any) -> GovernedAsyncSqlAlchemyConnector:
        return GovernedAsyncSqlAlchemyConnector(gateway=self.gateway(), target="orders-db", **fields)

    def count(self, where: str = "true", relation: str = "orders") -> int:
        return int(self.shop.query(f"SELECT count(*) FROM {relation} WHERE {where}")[0][0])

    def revoke(self, credential_id: str) -> None:
        with Client(self.shop.gateway.url, self.revoking_key) as client:
            client.revoke_credential(credential_id, "by the test")

    def live_sessions(self, credential_id: str) -> list[str]:
        """Those of a credential that are open after a moment."""
        until = time.monotonic() + 5
        with self.shop.client() as client:
            while time.monotonic() < until:
                live = [
                    one.id for one in client.sessions() if one.credential_id == credential_id and one.state == "open"
                ]
                if not live:
                    return []
                time.sleep(0.1)
        return live

    @contextmanager
    def deciding(self, decide: Callable[[Approval], bool | None] = lambda approval: True) -> Iterator[None]:
        """Dana decides whatever comes up; of what `decide` answers None she decides nothing."""
        over = threading.Event()

        def run() -> None:
            with self.shop.client() as client:
                while not over.wait(0.1):
                    for approval in client.approvals(state=["pending"]):
                        if (verdict := decide(approval)) is not None:
                            try:
                                (client.approve if verdict else client.deny)(approval.id, "by the test")
                            except RequestFault as fault:
                                if fault.code != "approval_closed":  # a run that is over has withdrawn it just now
                                    raise
                            else:
                                self.decided.append(approval)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(15)

    def pending(self, within: float = 20.0) -> Approval:
        """The one approval that is asked for by then."""
        until = time.monotonic() + within
        with self.shop.client() as client:
            while time.monotonic() < until:
                if found := list(client.approvals(state=["pending"])):
                    assert len(found) == 1, found
                    return found[0]
                time.sleep(0.1)
        raise AssertionError("nothing was asked for")


def flow_run_named(name: str) -> Any:
    """By the name that a test gave it; None where there is none yet."""
    with get_client(sync_client=True) as client:
        return next((run for run in client.read_flow_runs() if run.name == name), None)


def paused(name: str, within: float = 30.0) -> Any:
    """The flow run, once Prefect says it is paused."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        run = flow_run_named(name)
        if run is not None and run.state is not None and run.state.is_paused():
            return run
        time.sleep(0.1)
    raise AssertionError(f"{name} was not paused")
