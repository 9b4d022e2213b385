"""What the whole integration adds to a task: two real Airflows side by side, one that has never heard of Taskgate, with
a stored connection, one whose connection leads through the gateway. The same DAG file, one task at a time, in turn."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.airflow_forms import SOURCE, Form, server_form, worker_form
from tests.e2e.real_airflow import USERS, RealAirflow
from tests.e2e.shop import EXAMPLE, Shop, shop

from bench.imports import WITHOUT
from taskgate.demo.airflow_place import AirflowPlace
from taskgate.demo.data import DATABASE
from taskgate.demo.postgres_server import PostgresServer, embedded_bin
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope

_DAGS = Path(__file__).with_name("airflow_dags")
_LEAST_ROUNDS = 30
_CONNECTIONS = {"shop_db": "orders-db"}
# As the example's, for tasks of whatever assurance: both forms are measured against the same rules.
_POLICY = (EXAMPLE / "policy.yaml").read_text().replace("assurance: asserted", "assurance: any")


def _worker(directory: Path, running: Shop) -> Form:
    # Of an Airflow that the gateway knows a service key's word is checked as well.
    return worker_form(directory, url=running.gateway.url, service_key=running.service_key, connections=_CONNECTIONS)


def _server(directory: Path, running: Shop) -> Form:
    gateway = running.gateway
    return server_form(
        directory,
        url=gateway.url,
        api_server_key=gateway.api_key(PrincipalKind.SERVICE, "api-server", [Scope.CREDENTIALS_EXCHANGE]),
        triggerer_key=gateway.api_key(PrincipalKind.SERVICE, "triggerer", [Scope.CREDENTIALS_DELEGATE]),
        connections=_CONNECTIONS,
    )


FORMS = {"server": _server, "worker": _worker}


@contextmanager
def _airflows(directory: Path, form: str) -> Iterator[dict[str, RealAirflow]]:
    """Each with a server of its own for its metadata, so that neither waits for the other's writes."""
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer(embedded_bin(), directory / "shop-postgres"))
        (directory / "shop").mkdir()
        place = AirflowPlace.at(directory / "place", USERS)
        running: Shop = stack.enter_context(
            shop(directory / "shop", server, policy=_POLICY, settings={"airflow": [place.known_as(SOURCE)]})
        )
        governed = FORMS[form](directory / "form", running)
        ungoverned = Form({"PYTHONPATH": WITHOUT, "AIRFLOW_CONN_SHOP_DB": running.uri(DATABASE)})
        airflows = {}
        for name, how in (("ungoverned", ungoverned), ("governed", governed)):
            metadata = stack.enter_context(PostgresServer(embedded_bin(), directory / f"{name}-postgres"))
            airflows[name] = stack.enter_context(
                RealAirflow(
                    directory / name,
                    metadata,
                    dags=_DAGS,
                    environment=dict(how.environment),
                    components=how.components,
                    parallelism=1,
                    place=place if name == "governed" else None,
                )
            )
        for airflow in airflows.values():
            airflow.wait_for_dags("one_select")
        yield airflows


def _task(airflow: RealAirflow) -> tuple[float, float, float]:
    """In seconds: the task's duration as Airflow reports it, connection and SELECT within it, CPU of the task's process
    for these two."""
    run = airflow.admin.trigger("one_select")
    if run.end() != "success":
        raise RuntimeError(run.log("select"))
    took, worked = _numbers(run.xcom("select"))
    return run.task("select").duration or 0.0, took, worked


def _numbers(value: Any) -> tuple[float, float]:
    """A pair as XCom has it."""
    took, worked = value["__data__"] if isinstance(value, dict) else value
    return float(took), float(worked)


def report(directory: Path, rounds: int, form: str = "server") -> None:
    directory.mkdir(mode=0o711)
    rounds = max(rounds, _LEAST_ROUNDS)
    found: dict[str, list[tuple[float, float, float]]] = {"ungoverned": [], "governed": []}
    with _airflows(directory, form) as airflows:
        for number in range(rounds + 2):
            # Turn about, so that neither always runs in the wake of the other.
            for name in sorted(airflows, reverse=bool(number % 2)):
                measured = _task(airflows[name])
                if number > 1:
                    found[name].append(measured)
    print(f"\nan Airflow task that connects and selects, {form} form, {rounds} interleaved each; median (outer tenths)")
    for column, what in enumerate(("task, start to end", "connection and SELECT", "CPU for that")):
        values = {name: [one[column] * 1000 for one in pairs] for name, pairs in found.items()}
        added = statistics.median(
            here - there for here, there in zip(values["governed"], values["ungoverned"], strict=True)
        )
        told = "   ".join(f"{name} {_spread(one)}" for name, one in values.items())
        print(f"  {what:<22} {told}   added {added:.0f} ms")


def _spread(values: list[float]) -> str:
    tenths = statistics.quantiles(values, n=10)
    return f"{statistics.median(values):.0f} ms ({tenths[0]:.0f} to {tenths[-1]:.0f})"
