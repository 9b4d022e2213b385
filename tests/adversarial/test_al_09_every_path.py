"""AL-09: every way to the gateway reaches the same decision: native drivers by simple and extended protocol, the form a
governed operator uses, the API's explanation and the command line's."""

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
def test_al_09_the_command_line_explains_the_same(stage: Stage) -> None:
    asked = [text for text in STATEMENTS if text.startswith(("SELECT id FROM public.orders", "DELETE", "DROP"))]
    assert {text: by_cli(stage, text) for text in asked} == {text: STATEMENTS[text] for text in asked}
