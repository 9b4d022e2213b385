"""AL-09: every way to the gateway reaches the same decision: native drivers by simple and extended protocol, SQLAlchemy
over two drivers, Airflow's hook and operator and the governed ones, the API's explanation and the command line's."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import asyncpg
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from taskgate.client import ExplainPrincipal, ExplainRequest, TaskClaim
from taskgate.demo.stage import SOURCE, TARGET, Stage
from taskgate.domain import Assurance
from tests.unit.airflow import conftest as _airflow_home  # noqa: F401  AIRFLOW_HOME before anything imports Airflow

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


def _verdict(error: psycopg.Error | asyncpg.PostgresError | None, detail: str) -> str:
    if error is None:
        return "allow"
    assert error.sqlstate == "42501", error
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


def by_sqlalchemy(dsn: str, text: str, *, driver: str) -> str:
    """As a task with an engine does it: a transaction, whatever the dialect asks at its start, and a rollback."""
    url = sqlalchemy.make_url(dsn).set(drivername=f"postgresql+{driver}")

    async def ask() -> None:
        engine = create_async_engine(url, connect_args={"server_settings": {"taskgate.wait": "refuse"}})
        try:
            async with engine.connect() as connection:
                await connection.exec_driver_sql(text)
        finally:
            await engine.dispose()

    try:
        if driver == "asyncpg":
            asyncio.run(ask())
        else:
            engine = sqlalchemy.create_engine(url, connect_args={"options": REFUSE}, poolclass=sqlalchemy.NullPool)
            with engine.connect() as connection:
                connection.exec_driver_sql(text)
    except sqlalchemy.exc.DBAPIError as error:
        return _verdict_of(error.orig)
    return "allow"


def _verdict_of(error: BaseException | None) -> str:
    """Of a driver's error, however it is wrapped."""
    while error is not None:
        if isinstance(error, psycopg.Error):
            return _verdict(error, error.diag.message_detail or "")
        if isinstance(error, asyncpg.PostgresError):
            return _verdict(error, error.detail or "")
        error = error.__cause__
    raise AssertionError("not the server's error")


def by_airflow(text: str, *, way: str) -> str:
    """`orders_db` is a connection of Airflow's with the credential in it; nothing of Airflow stands in for anything."""
    from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from airflow.sdk.exceptions import TaskDeferred

    from taskgate_airflow.hooks import GovernedPostgresHook
    from taskgate_airflow.operators import GovernedSQLExecuteQueryOperator
    from taskgate_airflow.refusals import ApprovalPending

    named = {"task_id": "ask", "conn_id": "orders_db", "sql": text}
    try:
        match way:
            case "hook":
                PostgresHook(postgres_conn_id="orders_db", options=REFUSE).run(text)
            case "governed hook":
                GovernedPostgresHook(postgres_conn_id="orders_db").run(text)
            case "operator":
                SQLExecuteQueryOperator(**named, hook_params={"options": REFUSE}).execute({})
            case "governed operator":
                GovernedSQLExecuteQueryOperator(**named).execute({})
            case _:
                raise AssertionError(way)
    except (ApprovalPending, TaskDeferred):
        return "approve"
    except psycopg.Error as error:
        return _verdict_of(error)
    return "allow"


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
    assert "42501" in found.stderr, found.stderr
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
            "API": by_api(stage, text),
        }
    expected = {text: dict.fromkeys(found[text], verdict) for text, verdict in STATEMENTS.items()}
    assert found == expected


@pytest.mark.timeout(240)
def test_al_09_sqlalchemy_and_airflow_reach_the_same_decision(
    stage: Stage, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ORDERS_DB", dsn.replace("postgresql://", "postgres://"))
    found: dict[str, dict[str, str]] = {}
    for text in STATEMENTS:
        found[text] = {
            **{f"SQLAlchemy, {driver}": by_sqlalchemy(dsn, text, driver=driver) for driver in ("psycopg", "asyncpg")},
            **{way: by_airflow(text, way=way) for way in ("hook", "governed hook", "operator", "governed operator")},
        }
    expected = {text: dict.fromkeys(found[text], verdict) for text, verdict in STATEMENTS.items()}
    assert found == expected


@pytest.mark.timeout(240)
def test_al_09_the_command_line_explains_the_same(stage: Stage) -> None:
    asked = [text for text in STATEMENTS if text.startswith(("SELECT id FROM public.orders", "DELETE", "DROP"))]
    assert {text: by_cli(stage, text) for text in asked} == {text: STATEMENTS[text] for text in asked}
