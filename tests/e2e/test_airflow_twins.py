"""Each stock operator and hook runs unchanged: the same DAG files, to the byte, run in an Airflow whose connection is
stored and in one whose connection leads through the gateway, and do the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from taskgate.demo.postgres_server import PostgresServer
from tests.e2e.airflow_forms import worker_form
from tests.e2e.airflow_home import AirflowHome
from tests.e2e.shop import EXAMPLE, Shop, shop
from tests.e2e.twin_database import DIRECT, GOVERNED, TARGET, TWINS, policy_of, twin_databases
from tests.e2e.twin_runs import (
    DAG_IDS,
    Side,
    copy_dags,
    expect_no_masked_value,
    expect_same,
    secrets_of,
    sessions_expected,
    side_of,
    ungoverned_home,
)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def twin_shop(tmp_path_factory: pytest.TempPathFactory, postgres18: PostgresServer) -> Iterator[Shop]:
    with shop(
        tmp_path_factory.mktemp("shop"),
        postgres18,
        policy=policy_of(EXAMPLE / "policy.yaml", TWINS / "policy.yaml"),
        more_databases={TARGET: GOVERNED},
        beside=twin_databases(postgres18),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def sides(twin_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Side, Side]:
    """(governed, ungoverned), run at the same time: they share nothing but the processor."""
    directory = tmp_path_factory.mktemp("twins")
    here, there = directory / "governed", directory / "ungoverned"
    governed = AirflowHome(
        here / "home",
        dags=copy_dags(here / "dags"),
        form=worker_form(
            here / "form",
            url=twin_shop.gateway.url,
            service_key=twin_shop.service_key,
            connections={"shop_db": TARGET},
        ),
        environment={"AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"},
    )
    ungoverned = ungoverned_home(there, twin_shop, like=governed)
    running = governed.start(*DAG_IDS), ungoverned.start(*DAG_IDS)
    results = running[0].wait(200), running[1].wait(200)
    return (
        side_of(results[0], twin_shop, GOVERNED, here / "dags"),
        side_of(results[1], twin_shop, DIRECT, there / "dags"),
    )


def test_the_text_is_the_same_and_knows_of_no_gateway(sides: tuple[Side, Side]) -> None:
    governed, ungoverned = (
        {name: hashlib.sha256(text).hexdigest() for name, text in side.files.items()} for side in sides
    )
    assert set(governed) >= {f"{dag_id}.py" for dag_id in DAG_IDS}
    assert governed == ungoverned
    assert not any(b"taskgate" in text or b"governed" in text.lower() for text in sides[0].files.values())


def test_it_does_the_same(sides: tuple[Side, Side], twin_shop: Shop) -> None:
    expect_same(*sides, secrets_of(twin_shop))


def test_no_masked_value_has_come_out(sides: tuple[Side, Side], twin_shop: Shop) -> None:
    expect_no_masked_value(*sides, secrets_of(twin_shop))


def test_an_error_of_the_database_reads_the_same(sides: tuple[Side, Side]) -> None:
    for side in sides:
        assert 'psycopg.errors.UndefinedColumn: column "no_such_column" does not exist' in side.log


def test_everything_went_through_the_gateway(sides: tuple[Side, Side], twin_shop: Shop) -> None:
    with twin_shop.client() as client:
        assert {one.principal.name for one in client.sessions()} == sessions_expected(sides[0])
