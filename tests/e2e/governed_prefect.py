"""The package's Prefect with a gateway that knows it: pools, workers and keys of both forms."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from taskgate.client.models import Credential
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope
from taskgate_prefect.worker import TaskgateProcessWorker
from tests.e2e.attack_out import AttackOut, Noted
from tests.e2e.shop import Shop
from tests.servers.prefect import RealPrefect
from tests.servers.prefect_api import FlowRun
from tests.servers.prefect_process import PrefectProcess

SOURCE = "demo-prefect"
GOVERNED, PLAIN = "governed", "plain"
FLOWS = Path(__file__).with_name("prefect_flows")


def known_as(prefect: RealPrefect) -> Mapping[str, object]:
    """An entry of the gateway's setting `prefect`."""
    return {"source": SOURCE, "url": prefect.url, "check_interval": "1s"}


@dataclass(frozen=True)
class GovernedPrefect:
    """`GOVERNED` is a pool of our worker's, with a key that may register its runs; `PLAIN` one of Prefect's own, whose
    runs have a service key in their environment."""

    prefect: RealPrefect
    shop: Shop
    out: AttackOut
    worker_key: str = field(repr=False)
    service_key: str = field(repr=False)

    @classmethod
    def over(cls, prefect: RealPrefect, shop: Shop, out: Path) -> GovernedPrefect:
        groups = [f"source:{SOURCE}", f"work-pool:{GOVERNED}"]
        register, issue = [Scope.RUNS_REGISTER], [Scope.CREDENTIALS_ISSUE]
        worker_key = shop.gateway.api_key(PrincipalKind.SERVICE, "worker", register, groups)
        service_key = shop.gateway.api_key(PrincipalKind.SERVICE, "flows", issue, groups[:1])
        prefect.work_pool(GOVERNED, "taskgate-process", template=TaskgateProcessWorker.get_default_base_job_template())
        prefect.work_pool(PLAIN, "process")
        return cls(prefect, shop, AttackOut(out), worker_key, service_key)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "TASKGATE_URL": self.shop.gateway.url,
            "TASKGATE_SOURCE": SOURCE,
            "RUNS_OUT": str(self.out.directory),
            "TMPDIR": str(self.out.directory),
            "PYTHONPATH": f"{self.prefect.environment['PYTHONPATH']}:{FLOWS}",
        }

    def start_worker(self, name: str = "governed-worker", **more: str) -> PrefectProcess:
        """Of `GOVERNED`."""
        environment = {**self.environment, "TASKGATE_WORKER_KEY": self.worker_key, **more}
        return self.prefect.start_worker(GOVERNED, "taskgate-process", name=name, environment=environment)

    def start_plain_worker(self) -> PrefectProcess:
        environment = {**self.environment, "TASKGATE_API_KEY": self.service_key}
        return self.prefect.start_worker(PLAIN, "process", name="plain-worker", environment=environment)

    def deployment(self, function: str, *, pool: str = GOVERNED, file: str = "identity.py") -> str:
        return self.prefect.deployment(pool, FLOWS / file, function)

    def run(
        self,
        function: str,
        parameters: Mapping[str, object] | None = None,
        *,
        pool: str = GOVERNED,
        file: str = "identity.py",
    ) -> FlowRun:
        return self.prefect.api.run(self.deployment(function, pool=pool, file=file), parameters)

    def noted(self, run: FlowRun, what: str, seconds: float = 60) -> Noted:
        """The last of this kind, once there is one."""
        return run.until(
            lambda: next(iter(reversed(self.out.of(run.id, what))), None), seconds, f"nothing noted of {what!r}"
        )

    def credentials(self, attempt: str) -> list[Credential]:
        with self.shop.client() as client:
            return list(client.credentials(attempt=attempt))

    def ended_within(self, dsn: str, seconds: float) -> float:
        """Seconds until nothing connects with it any more; AssertionError where that takes longer."""
        started = time.monotonic()
        while connects(dsn):
            assert time.monotonic() - started < seconds, "what the run held still works"
            time.sleep(0.25)
        return time.monotonic() - started

    def runs_folder(self) -> Path:
        """Where the processes of a run leave each other its token."""
        return self.out.directory / f"taskgate-runs-{os.geteuid()}"

    def has_key(self, text: str) -> bool:
        """Whether a secret that no run may have is in it."""
        return self.worker_key in text or self.worker_key.partition(".")[2] in text

    def told(self, run: FlowRun) -> str:
        """Everything that Prefect's API shows of a run, its deployment, its pool and its artifacts."""
        api, read = self.prefect.api, run.read()
        found = [
            read, run.logs(), run.artifacts(), run.task_runs(),
            api.call("GET", f"/deployments/{read['deployment_id']}"), api.call("GET", f"/work_pools/{GOVERNED}"),
            api.events("prefect."), api.events("taskgate."),
        ]  # fmt: skip
        return json.dumps(found)


def connects(dsn: str) -> bool:
    """Raises what else may go wrong but a credential that does not count, or stops counting just then."""
    try:
        connection = psycopg.connect(dsn, connect_timeout=5)
    except psycopg.OperationalError as error:
        ends = ("password authentication failed", "no longer valid", "the task attempt is over")
        if not any(why in str(error) for why in ends):
            raise
        return False
    with connection:
        try:
            connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
    return True
