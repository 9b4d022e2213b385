"""AL-09: every way to the gateway reaches the same decision: native drivers by simple and extended protocol, SQLAlchemy
on each, Airflow's stock and governed operators, the API's explanation and the command line's."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from taskgate.client import ExplainPrincipal, ExplainRequest, TaskClaim
from taskgate.demo.stage import SOURCE, TARGET, Stage
from taskgate.domain import Assurance

STATEMENTS = {
    "SELECT id FROM public.orders LIMIT 1": "allow",
    "SELECT name, email FROM public.customers LIMIT 1": "allow",
    "SELECT o.id FROM public.orders o JOIN public.customers c ON c.id = o.customer_id LIMIT 1": "allow",
    "DELETE FROM public.orders WHERE id = -1": "approve",
    "UPDATE public.orders SET status = 'x' WHERE id = -1": "approve",
    "WITH gone AS (DELETE FROM public.orders WHERE id = -1 RETURNING id) SELECT count(*) FROM gone": "approve",
    "DROP TABLE public.orders": "deny",
    "TRUNCATE public.orders": "deny",
    "DELETE FROM public.customers WHERE id = -1": "deny",
    "INSERT INTO public.orders (id) VALUES (-1)": "deny",
    "SELECT rolname FROM pg_catalog.pg_authid": "deny",
    "SELECT pg_catalog.pg_read_file('/etc/passwd')": "deny",
    "SELECT id FROM public.customers WHERE email = 'a@b.example'": "deny",  # masking could not hide the answer
    "SELECT id FROM public.nowhere": "deny",
    "GRANT ALL ON public.orders TO public": "deny",
}

REFUSE = "-c taskgate.wait=refuse"
CLAIM = TaskClaim(source=SOURCE, dag_id="orders_cleanup", run_id="r1", task_id="parity", attempt_id="ti-parity")


@pytest.fixture
def stage(start_stage: Callable[..., Stage]) -> Stage:
    return start_stage()


@pytest.fixture
def dsn(stage: Stage) -> Iterator[str]:
    with stage.client("airflow") as airflow:
        yield airflow.issue_credential(TARGET, principal=CLAIM).dsn.get_secret_value()


NOT_THERE = "42P01"  # what a refusal says where the statement names what the target does not have


def _verdict(error: Any, detail: str) -> str:
    if error is None:
        return "allow"
    code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    assert code == "42501" or (code == NOT_THERE and "session=ses_" in detail), error
    return "approve" if "approval=apr_" in detail else "deny"


def by_psycopg(dsn: str, text: str, *, extended: bool) -> str:
    options = "-c taskgate.wait=refuse"
    with psycopg.connect(
        dsn, options=options, autocommit=True, prepare_threshold=0 if extended else None
    ) as connection:
        try:
            connection.execute(text, binary=extended)
        except psycopg.Error as error:
            return _verdict(error, error.diag.message_detail or "")
    return "allow"


def by_asyncpg(dsn: str, text: str) -> str:
    async def ask() -> str:
        connection = await asyncpg.connect(dsn, server_settings={"taskgate.wait": "refuse"})
        try:
            await connection.fetch(text)
        except asyncpg.PostgresError as error:
            return _verdict(error, error.detail or "")
        finally:
            await connection.close()
        return "allow"

    return asyncio.run(ask())


def by_sqlalchemy(dsn: str, text: str, driver: str) -> str:
    wait = {"server_settings": {"taskgate.wait": "refuse"}} if driver == "asyncpg" else {"options": REFUSE}
    url = sqlalchemy.make_url(dsn).set(drivername=f"postgresql+{driver}")
    try:
        if driver == "asyncpg":
            asyncio.run(_by_async_engine(url, text, wait))
        else:
            engine = sqlalchemy.create_engine(url, connect_args=wait)
            with engine.begin() as connection:
                connection.execute(sqlalchemy.text(text))
            engine.dispose()
    except sqlalchemy.exc.DBAPIError as error:
        cause: Any = error.orig
        if driver == "asyncpg":
            return _verdict(cause.__cause__, cause.__cause__.detail or "")
        return _verdict(cause, cause.diag.message_detail or "")
    return "allow"


async def _by_async_engine(url: sqlalchemy.URL, text: str, arguments: dict[str, Any]) -> None:
    engine = create_async_engine(url, connect_args=arguments)
    try:
        async with engine.begin() as connection:
            await connection.execute(sqlalchemy.text(text))
    finally:
        await engine.dispose()


BY_OPERATORS = """
import json, sys
from airflow.exceptions import AirflowException
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from taskgate_airflow.operators import GovernedSQLExecuteQueryOperator

def verdict(operator):
    try:
        operator.execute({})
    except TaskDeferred:
        return "approve"
    except AirflowFailException as error:
        assert "taskgate" in str(error), error
        return "deny"
    except Exception as error:
        code, detail = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None), error.diag.message_detail
        assert code == "42501" or (code == "42P01" and "session=ses_" in detail), error
        return "approve" if "approval=apr_" in detail else "deny"
    return "allow"

found = {}
for number, text in enumerate(json.load(sys.stdin)):
    arguments = {"sql": text, "autocommit": True}
    stock = SQLExecuteQueryOperator(task_id=f"stock_{number}", conn_id="refusing", **arguments)
    governed = GovernedSQLExecuteQueryOperator(task_id=f"governed_{number}", conn_id="orders_db", **arguments)
    found[text] = {"stock operator": verdict(stock), "governed operator": verdict(governed)}
print("FOUND", json.dumps(found))
"""


def by_operators(dsn: str, home: Path, texts: list[str]) -> dict[str, dict[str, str]]:
    """All of them in one process, since importing Airflow takes longer than everything else here."""
    uri = dsn.replace("postgresql://", "postgres://")
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_ORDERS_DB": uri,
        "AIRFLOW_CONN_REFUSING": f"{uri}?{urlencode({'options': REFUSE})}",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    done = subprocess.run(
        [sys.executable, "-c", BY_OPERATORS], input=json.dumps(texts), env=environment, capture_output=True, text=True,
        check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    found: dict[str, dict[str, str]] = json.loads(line.removeprefix("FOUND "))
    return found


def by_api(stage: Stage, text: str) -> str:
    principal = ExplainPrincipal(
        source=SOURCE, assurance=Assurance.ASSERTED, dag_id=CLAIM.dag_id, run_id=CLAIM.run_id, task_id=CLAIM.task_id
    )
    with stage.client("dana") as dana:
        return dana.explain(ExplainRequest(target=TARGET, text=text, principal=principal)).verdict


def by_psql(dsn: str, text: str) -> str:
    found = subprocess.run(
        ["psql", dsn, "-v", "VERBOSITY=verbose", "-X", "-q", "-c", text],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PGOPTIONS": REFUSE},
    )
    if found.returncode == 0:
        return "allow"
    assert "42501" in found.stderr or (NOT_THERE in found.stderr and "session=ses_" in found.stderr), found.stderr
    return "approve" if "approval=apr_" in found.stderr else "deny"


def by_cli(stage: Stage, text: str) -> str:
    """Offline, from the policy files and a list of the tables: no catalogue, hence no masks that refuse."""
    tables = {"public.orders": "id,customer_id,status", "public.customers": "id,name,email"}
    listed = [part for name, columns in tables.items() for part in ("--table", f"{name}:{columns}")]
    asked = {
        "--config": str(stage.gateway.config),
        "--target": TARGET,
        "--task": f"{CLAIM.dag_id}.{CLAIM.task_id}",
        "--source": SOURCE,
        "--assurance": "asserted",
        "--sql": text,
    }
    command = [sys.executable, "-m", "taskgate.cli", "policy", "explain", "--json", *listed]
    command += [part for option in asked.items() for part in option]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stderr
    answer = json.loads(found.stdout)
    verdict: str = answer.get("verdict") or answer["decision"]["verdict"]
    return verdict


@pytest.mark.timeout(240)
def test_al_09_every_path_reaches_the_same_decision(stage: Stage, dsn: str) -> None:
    found: dict[str, dict[str, str]] = {}
    for text in STATEMENTS:
        found[text] = {
            "psycopg, simple": by_psycopg(dsn, text, extended=False),
            "psycopg, extended": by_psycopg(dsn, text, extended=True),
            "asyncpg": by_asyncpg(dsn, text),
            "psql": by_psql(dsn, text),
            **{
                f"SQLAlchemy, {driver}": by_sqlalchemy(dsn, text, driver)
                for driver in ("psycopg", "psycopg2", "asyncpg")
            },
            "API": by_api(stage, text),
        }
    expected = {text: dict.fromkeys(found[text], verdict) for text, verdict in STATEMENTS.items()}
    assert found == expected


@pytest.mark.timeout(240)
def test_al_09_the_command_line_explains_the_same(stage: Stage) -> None:
    asked = [text for text in STATEMENTS if text.startswith(("SELECT id FROM public.orders", "DELETE", "DROP"))]
    assert {text: by_cli(stage, text) for text in asked} == {text: STATEMENTS[text] for text in asked}


@pytest.mark.timeout(300)
def test_al_09_airflows_operators_meet_the_same_decision(dsn: str, tmp_path: Path) -> None:
    found = by_operators(dsn, tmp_path, list(STATEMENTS))
    ways = ("stock operator", "governed operator")
    assert found == {text: dict.fromkeys(ways, verdict) for text, verdict in STATEMENTS.items()}
