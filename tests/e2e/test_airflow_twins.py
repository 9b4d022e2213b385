"""Each stock operator and hook runs unchanged: the same DAG files, to the byte, run in an Airflow whose connection is
stored and in one whose connection leads through the gateway, and do the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from taskgate.demo.postgres_server import PostgresServer
from tests.e2e.airflow_home import AirflowHome, DagResult
from tests.e2e.shop import EXAMPLE, Shop, shop
from tests.e2e.twin_database import DIRECT, GOVERNED, TARGET, TWINS, contents, policy_of, twin_databases

pytestmark = pytest.mark.timeout(300)

DAG_IDS = ("stock_operators", "stock_hooks")
# What ends otherwise than well, and how often it was tried: what these DAGs mean to show, gateway or no gateway.
ENDS = {"wrong": ("failed", 1), "missing": ("failed", 1), "not_taken": ("skipped", 0), "retried": ("success", 2)}
WITHOUT_CONNECTION = {"file", "taken", "not_taken"}
REDACTED = "[redacted]"


@dataclass(frozen=True)
class Side:
    """What came of one of the two runs. `files`: DAG file → its text as that Airflow has read it."""

    results: dict[str, DagResult]
    tables: dict[str, list[Any]]
    files: dict[str, bytes]

    def values(self, dag_id: str) -> dict[str, str]:
        """task → what it pushed, as JSON; the run's id does not count."""
        result = self.results[dag_id]
        return {
            name: json.dumps(one["value"], ensure_ascii=False).replace(result.run_id, "THE-RUN")
            for name, one in result.tasks.items()
        }


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
def secrets(twin_shop: Shop) -> list[str]:
    """Every value that policy masks."""
    return [value for row in twin_shop.query("SELECT email, card, ssn FROM customers") for value in row]


@pytest.fixture(scope="module")
def sides(twin_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Side, Side]:
    """(governed, ungoverned), run at the same time: they share nothing but the processor."""
    directory = tmp_path_factory.mktemp("twins")
    folders = [directory / name / "dags" for name in ("governed", "ungoverned")]
    for folder in folders:
        shutil.copytree(TWINS, folder, ignore=shutil.ignore_patterns("*.yaml", "__pycache__"))
    governed = AirflowHome(
        directory / "governed" / "home",
        url=twin_shop.gateway.url,
        service_key=twin_shop.service_key,
        connections={"shop_db": TARGET},
        dags=folders[0],
        environment={"AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"},
    )
    ungoverned = governed.ungoverned(
        directory / "ungoverned" / "home",
        dags=folders[1],
        environment={"AIRFLOW_CONN_SHOP_DB": twin_shop.uri(DIRECT)},
    )
    running = [home.start(*DAG_IDS) for home in (governed, ungoverned)]
    results = [one.wait(200) for one in running]
    tables = [contents(twin_shop.server, database) for database in (GOVERNED, DIRECT)]
    texts = [{file.name: file.read_bytes() for file in folder.glob("*.py")} for folder in folders]
    sides = [Side(*one) for one in zip(results, tables, texts, strict=True)]
    return sides[0], sides[1]


def masked(text: str, secrets: list[str]) -> str:
    for value in secrets:
        text = text.replace(value, REDACTED)
    return text


def test_the_text_is_the_same_and_knows_of_no_gateway(sides: tuple[Side, Side]) -> None:
    governed, ungoverned = sides
    assert set(governed.files) >= {f"{dag_id}.py" for dag_id in DAG_IDS}
    assert [hashlib.sha256(text).hexdigest() for _, text in sorted(governed.files.items())] == [
        hashlib.sha256(text).hexdigest() for _, text in sorted(ungoverned.files.items())
    ]
    assert not any(b"taskgate" in text or b"governed" in text.lower() for text in governed.files.values())


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_every_task_ends_as_its_twin_does(sides: tuple[Side, Side], dag_id: str) -> None:
    ends = [{name: (one["state"], one["tries"]) for name, one in side.results[dag_id].tasks.items()} for side in sides]
    assert ends[0] == ends[1] == {name: ENDS.get(name, ("success", 1)) for name in ends[1]}


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_every_value_is_its_twins_masked(sides: tuple[Side, Side], dag_id: str, secrets: list[str]) -> None:
    governed, ungoverned = (side.values(dag_id) for side in sides)
    assert any(masked(text, secrets) != text for text in ungoverned.values())
    assert governed == {name: masked(text, secrets) for name, text in ungoverned.items()}


def test_what_was_written_is_the_same(sides: tuple[Side, Side], secrets: list[str]) -> None:
    governed, ungoverned = (
        {name: [masked(repr(row), secrets) for row in rows] for name, rows in side.tables.items()} for side in sides
    )
    assert len(ungoverned["twin_transferred"]) == 220
    assert all(ungoverned.values())
    assert governed == ungoverned


def test_no_masked_value_has_come_out(sides: tuple[Side, Side], secrets: list[str]) -> None:
    governed, ungoverned = sides
    for dag_id in DAG_IDS:
        assert any(value in ungoverned.results[dag_id].log for value in secrets)  # what is looked for is printed
        assert not [value for value in secrets if value in governed.results[dag_id].log]
    assert not [value for value in secrets if value in repr(governed.tables)]


def test_an_error_of_the_database_reads_the_same(sides: tuple[Side, Side]) -> None:
    for side in sides:
        assert 'psycopg.errors.UndefinedColumn: column "no_such_column" does not exist' in side.results[DAG_IDS[0]].log


def test_everything_went_through_the_gateway(sides: tuple[Side, Side], twin_shop: Shop) -> None:
    expected = {
        f"{dag_id}.{name.partition('[')[0]}"
        for dag_id in DAG_IDS
        for name in sides[0].results[dag_id].tasks
        if name not in WITHOUT_CONNECTION
    }
    with twin_shop.client() as client:
        assert {one.principal.name for one in client.sessions()} == expected
