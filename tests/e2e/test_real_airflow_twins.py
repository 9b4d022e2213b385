"""The twin DAGs in Airflow's real processes, held against what they do with a stored connection."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from tests.e2e.airflow_api import Run
from tests.e2e.real_airflow import RealAirflow
from tests.e2e.shop import Shop
from tests.e2e.twin_database import DIRECT, GOVERNED, contents
from tests.e2e.twin_runs import (
    DAG_IDS,
    Side,
    TwinRun,
    expect_no_masked_value,
    expect_same,
    secrets_of,
    sessions_expected,
    side_of,
    ungoverned_home,
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


def _ran(run: Run) -> TwinRun:
    tasks = {}
    for one in run.tasks():
        name = one.task_id if one.map_index < 0 else f"{one.task_id}[{one.map_index}]"
        value = run.xcom(one.task_id, map_index=one.map_index)
        tasks[name] = (one.state or "none", one.try_number, value)
    return TwinRun.of(run.run_id, tasks)


def _log(run: Run) -> str:
    return "\n".join(
        run.log(one.task_id, number, one.map_index) for one in run.tasks() for number in range(1, one.try_number + 1)
    )


@pytest.fixture(scope="module")
def sides(real_airflow: RealAirflow, airflow_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Side, Side]:
    """(governed by the session's Airflow, ungoverned under `dag.test()`)"""
    directory = tmp_path_factory.mktemp("ungoverned")
    real_airflow.wait_for_dags(*DAG_IDS)
    runs = {dag_id: real_airflow.admin.trigger(dag_id, logical_date=datetime.now(UTC)) for dag_id in DAG_IDS}
    for run in runs.values():
        run.end(600)  # fifty tasks, each of which parses the file anew
    results = ungoverned_home(directory, airflow_shop).start(*DAG_IDS).wait(200)
    governed = Side(
        {dag_id: _ran(run) for dag_id, run in runs.items()},
        contents(airflow_shop.server, GOVERNED),
        # The text as Airflow's API shows it: what its DAG processor has read.
        {f"{dag_id}.py": _source(real_airflow, dag_id) for dag_id in DAG_IDS},
        "\n".join(_log(run) for run in runs.values()),
    )
    return governed, side_of(results, airflow_shop, DIRECT, directory / "dags")


def _source(airflow: RealAirflow, dag_id: str) -> bytes:
    text: str = airflow.admin.call("GET", f"/dagSources/{dag_id}")["content"]
    return text.encode()


def test_the_text_is_the_same(sides: tuple[Side, Side]) -> None:
    governed, ungoverned = sides
    for name, text in governed.files.items():
        assert hashlib.sha256(text).hexdigest() == hashlib.sha256(ungoverned.files[name]).hexdigest()


def test_it_does_the_same(sides: tuple[Side, Side], airflow_shop: Shop) -> None:
    expect_same(*sides, secrets_of(airflow_shop))


def test_no_masked_value_has_come_out(sides: tuple[Side, Side], airflow_shop: Shop) -> None:
    expect_no_masked_value(*sides, secrets_of(airflow_shop))


def test_a_trigger_gets_nothing_that_its_worker_has_not_held(real_airflow: RealAirflow, airflow_shop: Shop) -> None:
    """This operator defers before it connects."""
    real_airflow.wait_for_dags("stock_deferrable")
    run = real_airflow.admin.trigger("stock_deferrable")
    state = run.end()
    written = airflow_shop.query("SELECT count(*) FROM twin_paged", GOVERNED)
    assert (state, written) == ("failed", [(0,)])
    assert "its trigger gets none" in run.log("in_deferred_pages")


def test_everything_went_through_the_gateway(sides: tuple[Side, Side], airflow_shop: Shop) -> None:
    with airflow_shop.client() as client:
        assert {one.principal.name for one in client.sessions()} >= sessions_expected(sides[0])
