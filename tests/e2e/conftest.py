"""The session's Airflow: a whole one, started for the first test that asks, with a gateway and a database of its own.

Tests that use it name their runs' tasks and DAGs, and leave the processes running."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgate.demo.postgres_server import PostgresServer, embedded_bin
from tests.e2e.airflow_forms import Form, worker_form
from tests.e2e.attack_out import AttackOut
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import EXAMPLE, Shop, shop
from tests.e2e.twin_database import GOVERNED, TARGET, TWINS, policy_of, twin_databases
from tests.servers.folders import server_folder

HERE = Path(__file__).parent
DAGS = (EXAMPLE / "dags", TWINS, HERE / "attack_dags", HERE / "harness_dags")


@pytest.fixture(scope="session")
def airflow_server() -> Iterator[PostgresServer]:
    """The session Airflow's metadata and its shop: other tests fill and empty theirs on another server."""
    with server_folder("airflow") as folder, PostgresServer(embedded_bin(), folder) as server:
        yield server


@pytest.fixture(scope="session")
def airflow_shop(tmp_path_factory: pytest.TempPathFactory, airflow_server: PostgresServer) -> Iterator[Shop]:
    with shop(
        tmp_path_factory.mktemp("airflow-shop"),
        airflow_server,
        policy=policy_of(EXAMPLE / "policy.yaml", TWINS / "policy.yaml"),
        more_databases={TARGET: GOVERNED},
        beside=twin_databases(airflow_server),
    ) as running:
        yield running


@pytest.fixture(scope="session")
def attack_out(tmp_path_factory: pytest.TempPathFactory) -> AttackOut:
    return AttackOut(tmp_path_factory.mktemp("attacks"))


@pytest.fixture(scope="session", params=["worker"])
def airflow_form(request: pytest.FixtureRequest, airflow_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Form:
    """Every form of the integration that the session's Airflow is run in, one after the other."""
    forms = {"worker": worker_form}
    return forms[request.param](
        tmp_path_factory.mktemp("form"),
        url=airflow_shop.gateway.url,
        service_key=airflow_shop.service_key,
        connections={"orders_db": "orders-db", "shop_db": TARGET},
    )


@pytest.fixture(scope="session")
def real_airflow(
    airflow_form: Form,
    airflow_shop: Shop,
    airflow_server: PostgresServer,
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
            "ATTACK_OUT": str(attack_out.directory),
            "PYTHONPATH": str(dags),  # triggers are imported by name, in the triggerer
        },
        components=airflow_form.components,
    )
    with running:
        yield running
