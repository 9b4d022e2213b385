"""The package's Airflow and Prefect: whole ones, started for the first test that asks, with a gateway and a database of
their own, and gone before the tests of other packages.

Tests that use it name their runs' tasks and DAGs, and leave the processes running."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from taskgate.demo.airflow_place import AirflowPlace
from taskgate.demo.postgres_server import PostgresServer, embedded_bin
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope
from tests.e2e.airflow_forms import SOURCE, Form, server_form
from tests.e2e.attack_out import AttackOut
from tests.e2e.governed_prefect import GovernedPrefect, known_as
from tests.e2e.real_airflow import USERS, RealAirflow
from tests.e2e.shop import EXAMPLE, Shop, shop
from tests.e2e.twin_database import GOVERNED, TARGET, TWINS, policy_of, twin_databases
from tests.servers.folders import server_folder
from tests.servers.prefect import RealPrefect

HERE = Path(__file__).parent
DAGS = (EXAMPLE / "dags", TWINS, HERE / "attack_dags", HERE / "harness_dags", HERE / "approval_dags")
POLICIES = (EXAMPLE / "policy.yaml", TWINS / "policy.yaml", HERE / "attack_policy.yaml", HERE / "approval_policy.yaml")


@pytest.fixture(scope="package")
def airflow_server() -> Iterator[PostgresServer]:
    """The session Airflow's metadata and its shop: other tests fill and empty theirs on another server."""
    with server_folder("airflow") as folder, PostgresServer(embedded_bin(), folder) as server:
        yield server


@pytest.fixture(scope="package")
def airflow_place(tmp_path_factory: pytest.TempPathFactory) -> AirflowPlace:
    return AirflowPlace.at(tmp_path_factory.mktemp("airflow-place"), USERS)


@pytest.fixture(scope="package")
def airflow_shop(
    tmp_path_factory: pytest.TempPathFactory, airflow_server: PostgresServer, airflow_place: AirflowPlace
) -> Iterator[Shop]:
    """Its gateway knows the session's Airflow, and its rules want every task proven."""
    directory = tmp_path_factory.mktemp("airflow-shop")
    known = {**airflow_place.known_as(SOURCE), "people": {"alice": "dana"}}
    with shop(
        directory,
        airflow_server,
        policy=proven(policy_of(*POLICIES)),
        more_databases={TARGET: GOVERNED},
        beside=twin_databases(airflow_server),
        settings={"airflow": [known], "dashboard_url": "http://dashboard.test"},
    ) as running:
        yield running


def proven(policy: str) -> str:
    """The policy with every rule that an asserted task would do for asking for one that is proven."""
    read = yaml.safe_load(policy)
    for rule in read["rules"]:
        principals = rule["match"].get("principals", {})
        if principals.get("assurance") in ("asserted", "any"):
            principals["assurance"] = ["verified", "delegated"]
    return yaml.safe_dump(read, sort_keys=False)


@pytest.fixture(scope="package")
def attack_out(tmp_path_factory: pytest.TempPathFactory) -> AttackOut:
    return AttackOut(tmp_path_factory.mktemp("attacks"))


@pytest.fixture(scope="package")
def airflow_form(airflow_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Form:
    """The server form; the worker form is what `dag.test()` runs in (test_airflow.py)."""
    gateway, groups = airflow_shop.gateway, [f"source:{SOURCE}"]
    exchange, triggerer = [Scope.CREDENTIALS_EXCHANGE], [Scope.CREDENTIALS_DELEGATE, Scope.APPROVALS_WATCH]
    return server_form(
        tmp_path_factory.mktemp("form"),
        url=gateway.url,
        api_server_key=gateway.api_key(PrincipalKind.SERVICE, "airflow-api-server", exchange, groups),
        triggerer_key=gateway.api_key(PrincipalKind.SERVICE, "airflow-triggerer", triggerer, groups),
        connections={"orders_db": "orders-db", "shop_db": TARGET},
        taskgate={"dashboard_url": "http://dashboard.test"},
    )


@pytest.fixture(scope="package")
def real_airflow(
    airflow_form: Form,
    airflow_shop: Shop,
    airflow_server: PostgresServer,
    airflow_place: AirflowPlace,
    attack_out: AttackOut,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RealAirflow]:
    """`orders_db` and `shop_db` are mapped, `direct_db` is the shop with its password, past the gateway."""
    directory = tmp_path_factory.mktemp("airflow")
    dags = directory / "dags"
    for folder in DAGS:
        shutil.copytree(folder, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.yaml", "__pycache__"))
    running = RealAirflow(
        directory / "home",
        airflow_server,
        dags=dags,
        environment={
            **airflow_form.environment,
            "AIRFLOW_CONN_DIRECT_DB": airflow_shop.direct_uri,
            "AIRFLOW_CONN_ORDERS_DB": airflow_shop.direct_uri,  # what must never be fallen back to
            "ATTACK_OUT": str(attack_out.directory),
            "PYTHONPATH": str(dags),  # triggers are imported by name, in the triggerer
        },
        components=airflow_form.components,
        place=airflow_place,
    )
    with running:
        yield running


@pytest.fixture(scope="package")
def real_prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPrefect]:
    """A whole Prefect as well, but for workers: tests start their own, in pools of their own. `PREFECT_PYTHON` names
    an interpreter with another Prefect than the pinned one (and psycopg): then all of it runs on that."""
    python = os.environ.get("PREFECT_PYTHON", sys.executable)
    with RealPrefect(tmp_path_factory.mktemp("prefect"), python=python) as running:
        yield running


@pytest.fixture(scope="package")
def governed_prefect(tmp_path_factory: pytest.TempPathFactory, real_prefect: RealPrefect) -> Iterator[GovernedPrefect]:
    """With a gateway and a database of its own; a worker is what a test starts."""
    directory = tmp_path_factory.mktemp("prefect-shop")
    settings = {"prefect": [known_as(real_prefect)]}
    with server_folder("prefect") as folder, PostgresServer(embedded_bin(), folder) as server:
        with shop(directory, server, policy=(HERE / "prefect_policy.yaml").read_text(), settings=settings) as running:
            yield GovernedPrefect.over(real_prefect, running, tmp_path_factory.mktemp("runs"))
