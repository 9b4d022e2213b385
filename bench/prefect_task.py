"""What a governed connector adds to a Prefect task, in both forms, with a real server and worker; and what importing
the package adds to importing Prefect."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.shop import APP_PASSWORD, EXAMPLE, Shop, shop
from tests.servers.prefect import RealPrefect

from taskgate.demo.data import APP_ROLE, DATABASE
from taskgate.demo.postgres_server import PostgresServer, embedded_bin
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope
from taskgate_prefect.worker import TaskgateProcessWorker

_SOURCE = "demo-prefect"
_FLOWS = Path(__file__).with_name("prefect_flows")
_LEAST_ROUNDS = 30
_PAUSES = {"apart": 0.3, "one after another": 0.0}  # seconds before each task
_WARM_UP = 2  # the first tasks of a process import drivers and exchange the run's secret
# As the example's, for runs of whatever assurance: both forms are measured against the same rules.
_POLICY = (
    (EXAMPLE / "policy.yaml")
    .read_text()
    .replace("assurance: asserted", "assurance: any")
    .replace("demo-airflow", _SOURCE)
)


def report(directory: Path, rounds: int) -> None:
    directory.mkdir(mode=0o711)
    rounds = max(rounds, _LEAST_ROUNDS)
    with (
        PostgresServer(embedded_bin(), directory / "postgres") as server,
        RealPrefect(directory / "prefect") as prefect,
    ):
        (directory / "shop").mkdir()
        settings = {"prefect": [{"source": _SOURCE, "url": prefect.url}]}
        with shop(directory / "shop", server, policy=_POLICY, settings=settings) as running:
            found = {form: _runs(directory, prefect, running, form, rounds) for form in ("worker", "key")}
    print(f"\na Prefect task that connects, selects and closes, {rounds} interleaved each; median (outer tenths)")
    for form, runs in found.items():
        for pace, took in runs.items():
            pairs = zip(took["governed"], took["stock"], strict=True)
            added = statistics.median(here - there for here, there in pairs)
            told = "   ".join(f"{name} {_spread(values)}" for name, values in took.items())
            print(f"  {f'{form} form, {pace}':<31}   {told}   added {added:.0f} ms")


_Took = Mapping[str, list[float]]
"""Milliseconds of each task, by connector."""


def _runs(directory: Path, prefect: RealPrefect, running: Shop, form: str, rounds: int) -> Mapping[str, _Took]:
    """By pace: a flow run each, of one worker."""
    gateway = running.gateway
    environment = {
        "TASKGATE_URL": gateway.url, "TASKGATE_SOURCE": _SOURCE, "SHOP_USER": APP_ROLE, "SHOP_PASSWORD": APP_PASSWORD,
        "SHOP_PORT": str(urlsplit(running.server.dsn()).port), "SHOP_DB": DATABASE, "TMPDIR": str(directory),
    }  # fmt: skip
    if form == "worker":
        kind, template = "taskgate-process", TaskgateProcessWorker.get_default_base_job_template()
        prefect.work_pool(form, kind, template=template)
        environment["TASKGATE_WORKER_KEY"] = gateway.api_key(PrincipalKind.SERVICE, "worker", [Scope.RUNS_REGISTER])
    else:
        kind = "process"
        prefect.work_pool(form, kind)
        environment["SERVICE_KEY"] = gateway.api_key(PrincipalKind.SERVICE, "flows", [Scope.CREDENTIALS_ISSUE])
    prefect.start_worker(form, kind, environment=environment)
    deployment = prefect.deployment(form, _FLOWS / "one_select.py", "one_select")
    found = {pace: _run(prefect, deployment, directory / f"{form}.json", rounds, _PAUSES[pace]) for pace in _PAUSES}
    prefect.stop_worker(f"worker-{form}")
    return found


def _run(prefect: RealPrefect, deployment: str, result: Path, rounds: int, pause: float) -> _Took:
    run = prefect.api.run(deployment, {"rounds": rounds + _WARM_UP, "pause": pause, "result": str(result)})
    if (state := run.end(300)).type != "COMPLETED":
        raise RuntimeError(f"{state}\n" + "\n".join(run.logs()))
    took: _Took = json.loads(result.read_text())
    return {name: [one * 1000 for one in values[_WARM_UP:]] for name, values in took.items()}


def _spread(values: list[float]) -> str:
    tenths = statistics.quantiles(values, n=10)
    return f"{statistics.median(values):.0f} ms ({tenths[0]:.0f} to {tenths[-1]:.0f})"


# --- imports -----------------------------------------------------------------------------------------------------

_PREFECT = "import prefect; from prefect import flow, task; import prefect.blocks.core"
_WAYS = {
    "beyond Prefect": (_PREFECT, f"{_PREFECT}; import taskgate_prefect"),
    "beyond Prefect and prefect-sqlalchemy": (
        f"{_PREFECT}; import prefect_sqlalchemy",
        f"{_PREFECT}; import prefect_sqlalchemy; from taskgate_prefect import GovernedSqlAlchemyConnector",
    ),
    "as a collection, beyond prefect-sqlalchemy's": (
        f"{_PREFECT}; import prefect.workers.process, prefect_sqlalchemy",
        f"{_PREFECT}; import prefect.workers.process, prefect_sqlalchemy; import taskgate_prefect.collection",
    ),
}


def report_imports(directory: Path, rounds: int) -> None:
    """By the clock of the importing process itself, with and without, in turn."""
    home = directory / "prefect-imports"
    home.mkdir(exist_ok=True)
    print(f"\nimporting taskgate_prefect, {rounds} rounds, medians (goal: < 300 ms beyond Prefect's)")
    for name, (base, whole) in _WAYS.items():
        found: dict[str, list[float]] = {base: [], whole: []}
        for number in range(rounds + 1):
            for code in sorted(found, reverse=bool(number % 2)):
                seconds = _seconds(code, home)
                if number:
                    found[code].append(seconds * 1000)
        added = statistics.median(here - there for here, there in zip(found[whole], found[base], strict=True))
        print(f"  {name:<42} {statistics.median(found[base]):>6.0f} → {statistics.median(found[whole]):.0f} ms, "
              f"added {added:.0f} ms")  # fmt: skip


def _seconds(code: str, home: Path) -> float:
    timed = f"import time; began = time.perf_counter()\n{code}\nprint(time.perf_counter() - began)"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "TASKGATE"))}
    done = subprocess.run(
        [sys.executable, "-c", timed],
        env={**own, "PREFECT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])
