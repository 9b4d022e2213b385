"""What came of the twin DAGs on one side, in a form that can be held against the other's."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.airflow_home import AirflowHome, DagResult
from tests.e2e.shop import Shop
from tests.e2e.twin_database import DIRECT, TWINS, contents

DAG_IDS = ("stock_operators", "stock_hooks")
# What ends otherwise than well, and how often it was tried: what these DAGs mean to show, gateway or no gateway.
ENDS = {"wrong": ("failed", 1), "missing": ("failed", 1), "not_taken": ("skipped", 0), "retried": ("success", 2)}
WITHOUT_CONNECTION = {"file", "taken", "not_taken"}
REDACTED = "[redacted]"


@dataclass(frozen=True)
class TwinRun:
    """`ends`: task → (state, tries); `values`: task → what it pushed, as JSON. The run's id does not count."""

    ends: Mapping[str, tuple[str, int]]
    values: Mapping[str, str]

    @classmethod
    def of(cls, run_id: str, tasks: Mapping[str, tuple[str, int, Any]]) -> TwinRun:
        (Path(tempfile.gettempdir()) / f"{run_id}.tsv").unlink(missing_ok=True)  # its task `file` left it there
        return cls(
            {name: (state, tries) for name, (state, tries, _) in tasks.items()},
            {
                name: json.dumps(value, ensure_ascii=False, sort_keys=True).replace(run_id, "THE-RUN")
                for name, (_, _, value) in tasks.items()
            },
        )

    @classmethod
    def tested(cls, result: DagResult) -> TwinRun:
        """Of `dag.test()`."""
        return cls.of(
            result.run_id, {name: (one["state"], one["tries"], one["value"]) for name, one in result.tasks.items()}
        )


@dataclass(frozen=True)
class Side:
    """`files`: DAG file → its text as that Airflow has read it. `log`: all that its tasks wrote."""

    runs: Mapping[str, TwinRun]
    tables: Mapping[str, list[Any]]
    files: Mapping[str, bytes]
    log: str


def copy_dags(folder: Path) -> Path:
    shutil.copytree(TWINS, folder, ignore=shutil.ignore_patterns("*.yaml", "__pycache__"), dirs_exist_ok=True)
    return folder


def texts(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("stock_*.py")}


def ungoverned_home(directory: Path, shop: Shop, like: AirflowHome | None = None) -> AirflowHome:
    """An Airflow that knows nothing of a gateway, with the connection stored."""
    return AirflowHome(
        directory / "home",
        dags=copy_dags(directory / "dags"),
        environment={"AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO", "AIRFLOW_CONN_SHOP_DB": shop.uri(DIRECT)},
        like=like,
    )


def side_of(results: Mapping[str, DagResult], shop: Shop, database: str, dags: Path) -> Side:
    return Side(
        {dag_id: TwinRun.tested(result) for dag_id, result in results.items()},
        contents(shop.server, database),
        texts(dags),
        next(iter(results.values())).log,
    )


def secrets_of(shop: Shop) -> list[str]:
    """Every value that policy masks."""
    return [value for row in shop.query("SELECT email, card, ssn FROM customers") for value in row]


def masked(text: str, secrets: Iterable[str]) -> str:
    for value in secrets:
        text = text.replace(value, REDACTED)
    return text


def expect_same(governed: Side, ungoverned: Side, secrets: list[str]) -> None:
    """Everything that can be compared, masks aside."""
    for dag_id in DAG_IDS:
        here, there = governed.runs[dag_id], ungoverned.runs[dag_id]
        assert here.ends == there.ends == {name: ENDS.get(name, ("success", 1)) for name in there.ends}
        assert any(masked(text, secrets) != text for text in there.values.values())
        assert here.values == {name: masked(text, secrets) for name, text in there.values.items()}
    written, expected = (
        {name: [masked(repr(row), secrets) for row in rows] for name, rows in side.tables.items()}
        for side in (governed, ungoverned)
    )
    assert len(expected["twin_transferred"]) == 220
    assert written == expected


def expect_no_masked_value(governed: Side, ungoverned: Side, secrets: list[str]) -> None:
    assert any(value in ungoverned.log for value in secrets)  # what is looked for is printed there
    assert not [value for value in secrets if value in governed.log]
    assert not [value for value in secrets if value in repr(governed.tables)]


def sessions_expected(side: Side) -> set[str]:
    """Whom the gateway must have seen."""
    return {
        f"{dag_id}.{name.partition('[')[0]}"
        for dag_id in DAG_IDS
        for name in side.runs[dag_id].ends
        if name not in WITHOUT_CONNECTION
    }
