"""What the demo promises, each checked against what really happened: the task's result, the server's log, the tables,
the records. `taskgate demo --exit` succeeds only when all of them hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from taskgate.client import SessionFilter
from taskgate.demo import data
from taskgate.demo.airflow import Airflow
from taskgate.demo.attempt_promises import credentials_die, known_as_promised
from taskgate.demo.promise import Promise
from taskgate.demo.server_log import statements
from taskgate.demo.stage import DAG_ID, Stage
from taskgate.domain import Assurance
from taskgate.recording.keys import PublicKey
from taskgate.recording.verify import verify


@dataclass(frozen=True, slots=True)
class Seen:
    """Approvals as the demo saw them while they were pending, by task id: whether a connection was held, and what
    Airflow called the task (None where it could not be asked)."""

    held: Mapping[str, bool]
    states: Mapping[str, str | None]
    rows_before: Mapping[str, int]


STOCK = ("cancelled", "2024-07-01")
GOVERNED = ("shipped", "2024-04-01")


def matching_orders(stage: Stage) -> dict[str, int]:
    """How many orders each of the two DELETEs would remove now, asked of the server directly."""
    return asyncio.run(_matching_orders(stage))


async def _matching_orders(stage: Stage) -> dict[str, int]:
    connection = await asyncpg.connect(stage.postgres.dsn(data.DATABASE))
    try:
        query = "select count(*) from public.orders where status = $1 and created_at < $2::text::timestamptz"
        return {
            "delete_old_orders_stock": await connection.fetchval(query, *STOCK),
            "delete_old_orders_governed": await connection.fetchval(query, *GOVERNED),
        }
    finally:
        await connection.close()


def check(stage: Stage, airflow: Airflow, seen: Seen, bundle: Path) -> list[Promise]:
    """All promises, in the order of the story."""
    result, log = airflow.result(), airflow.log()
    ran = [one.text.lower() for one in statements(stage.postgres.log_file)]
    tasks: Mapping[str, Any] = result["tasks"]
    checks: list[Callable[[], Promise]] = [
        lambda: _reads_masked(stage, tasks["read_customers"], log),
        lambda: _drop_refused(tasks["drop_orders"], log, ran),
        lambda: _deleted(stage, "delete_old_orders_stock", tasks, seen, held=True),
        lambda: _deleted(stage, "delete_old_orders_governed", tasks, seen, held=False),
        lambda: known_as_promised(stage, airflow, tasks),
        lambda: _no_secret(stage, log),
        lambda: _verified(stage, bundle),
    ]
    if airflow.form.assurance is Assurance.VERIFIED:
        checks.insert(-2, lambda: credentials_die(stage, tasks))
    return [one() for one in checks]


def _reads_masked(stage: Stage, task: Mapping[str, Any], log: str) -> Promise:
    text = str(task["value"])
    leaked = [value for value in stage.canaries if value in text or value in log]
    rows = len(task["value"] or ())
    return Promise(
        "an unchanged SELECT task gets its rows, with e-mail addresses, cards and SSNs masked",
        task["state"] == "success" and rows == 5 and not leaked and "redacted" in text,
        f"state {task['state']}, {rows} rows, {len(leaked)} of {len(stage.canaries)} real values seen by the task",
    )


def _drop_refused(task: Mapping[str, Any], log: str, ran: list[str]) -> Promise:
    reason = "no-production-ddl" in log and "Schema changes go through migrations" in log
    reached = sum("drop table" in text for text in ran)
    return Promise(
        "a forbidden statement is refused with the rule and its reason, and never reaches the server",
        task["state"] == "failed" and reason and reached == 0,
        f"state {task['state']}, reason {'in' if reason else 'missing from'} the task's log, "
        f"{reached} DROP in the server's log",
    )


def _deleted(stage: Stage, task_id: str, tasks: Mapping[str, Any], seen: Seen, *, held: bool) -> Promise:
    left, before = matching_orders(stage)[task_id], seen.rows_before[task_id]
    state, waited = tasks[task_id]["state"], seen.held.get(task_id)
    how = "waits on its connection" if held else "defers and holds no connection"
    saw = {None: "was never asked for", True: "held a connection", False: "held no connection"}[waited]
    there = seen.states.get(task_id)
    as_told = there in (None, "running" if held else "deferred")
    if there:
        saw += f" and was {there} in Airflow"
    return Promise(
        f"{task_id} {how} until a human approves, then runs once",
        state == "success" and waited is held and as_told and before > 0 and left == 0,
        f"state {state}, {saw} while pending, {before} matching orders before and {left} after",
    )


def _no_secret(stage: Stage, log: str) -> Promise:
    leaked = [value for value in stage.target_passwords if value in log]
    return Promise(
        "the database's password never reaches Airflow",
        not leaked,
        "not in anything Airflow printed" if not leaked else "found in Airflow's log",
    )


def _verified(stage: Stage, bundle: Path) -> Promise:
    with stage.client("rae") as rae:
        sessions = [one.id for one in rae.sessions(SessionFilter(dag_id=DAG_ID))]
        rae.export(bundle, sessions=sessions)
    key = PublicKey.parse((stage.gateway.directory / "data" / "keys" / "checkpoint.pub").read_bytes())
    found = verify(bundle, public_keys=[key])
    return Promise(
        "the recorded trail verifies offline",
        found.ok and found.trusted and len(found.sessions) == len(sessions) >= 3,
        f"{len(found.sessions)} sessions, {sum(one.records for one in found.sessions)} records, "
        + (str(found.first) if found.first else f"{found.checkpoints} signed checkpoints, nothing wrong"),
    )
