"""What the demo promises, each checked against what really happened: the task's result, the server's log, the tables,
the records. `taskgate demo --exit` succeeds only when all of them hold."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from taskgate.client import SessionFilter
from taskgate.demo import data
from taskgate.demo.attempt_promises import credentials_die, known_as_promised
from taskgate.demo.example import Deletion, Example, Waiting
from taskgate.demo.orchestrator import Orchestrator, TaskEnd
from taskgate.demo.promise import Promise
from taskgate.demo.server_log import statements
from taskgate.demo.stage import Stage
from taskgate.recording.keys import PublicKey
from taskgate.recording.verify import verify


@dataclass(frozen=True, slots=True)
class Seen:
    """How each task waited, as the demo saw it while its approval was pending, and how many orders each would have
    deleted before."""

    waiting: Mapping[str, Waiting]
    rows_before: Mapping[str, int]


def matching_orders(stage: Stage) -> dict[str, int]:
    """How many orders each of the example's tasks would delete now, asked of the server directly."""
    return asyncio.run(_matching_orders(stage))


async def _matching_orders(stage: Stage) -> dict[str, int]:
    connection = await asyncpg.connect(stage.postgres.dsn(data.DATABASE))
    try:
        query = "select count(*) from public.orders where status = $1 and created_at < $2::text::timestamptz"
        return {
            one.task_id: await connection.fetchval(query, one.status, one.before)
            for one in stage.form.example.deletions
        }
    finally:
        await connection.close()


def check(stage: Stage, orchestrator: Orchestrator, seen: Seen, bundle: Path) -> list[Promise]:
    """All promises, in the order of the story."""
    form, tasks, log, kept = orchestrator.form, orchestrator.tasks(), orchestrator.log(), orchestrator.kept()
    ran = [one.text.lower() for one in statements(stage.postgres.log_file)]
    left, ran_deletes = matching_orders(stage), _deletes(stage)
    deletions = form.example.deletions
    promises = [
        reads_masked(stage, tasks["read_customers"], kept),
        drop_refused(tasks["drop_orders"], log, ran),
        *(
            deleted(form.example, one, tasks[one.task_id], seen, left[one.task_id], ran_deletes[one.task_id])
            for one in deletions
        ),
        known_as_promised(stage, orchestrator, tasks),
    ]
    if form.last_reads is not None:
        promises.append(credentials_die(stage, form.example.kind, form.last_reads, tasks))
    return [*promises, no_secret(stage, kept), _verified(stage, bundle)]


def reads_masked(stage: Stage, task: TaskEnd, kept: Mapping[str, bytes]) -> Promise:
    text = str(task.value)
    leaked = [
        value
        for value in stage.canaries
        if value in text or any(value.encode() in everything for everything in kept.values())
    ]
    rows = len(task.value) if isinstance(task.value, list) else 0
    return Promise(
        "an unchanged SELECT task gets its rows, with e-mail addresses, cards and SSNs masked",
        task.succeeded and rows == 5 and not leaked and "redacted" in text,
        f"state {task.state}, {rows} rows, {len(leaked)} of {len(stage.canaries)} real values seen by the task",
    )


def drop_refused(task: TaskEnd, log: str, ran: list[str]) -> Promise:
    reason = "no-production-ddl" in log and "Schema changes go through migrations" in log
    reached = sum("drop table" in text for text in ran)
    return Promise(
        "a forbidden statement is refused with the rule and its reason, and never reaches the server",
        task.failed and reason and reached == 0,
        f"state {task.state}, reason {'in' if reason else 'missing from'} the task's log, "
        f"{reached} DROP in the server's log",
    )


def _deletes(stage: Stage) -> dict[str, int]:
    """How many DELETEs of each of the example's tasks the server has run, by its own log."""
    example, log_file = stage.form.example, stage.postgres.log_file
    found = {}
    with stage.client("rae") as rae:
        for one in example.deletions:
            sessions = rae.sessions(SessionFilter(dag_id=example.id, task_id=one.task_id))
            texts = [ran.text.lower() for session in sessions for ran in statements(log_file, session.id)]
            found[one.task_id] = sum("delete from" in text for text in texts)
    return found


def deleted(example: Example, deletion: Deletion, task: TaskEnd, seen: Seen, left: int, ran: int) -> Promise:
    """`left` orders match afterwards; the server `ran` so many DELETEs of the task."""
    before, waited = seen.rows_before[deletion.task_id], seen.waiting.get(deletion.task_id)
    if waited is None:
        saw = "was never asked for"
    else:
        saw = "held a connection" if waited.holds_connection else "held no connection"
        if waited.state:
            saw += f" and was {waited.state} in {example.orchestrator}"
        if waited.processes is not None:
            saw += f", with {waited.processes or 'no'} process{'es' if waited.processes > 1 else ''} of its run alive,"
    observed = f"state {task.state}, {saw} while pending, {before} matching orders before and {left} after"
    if ran != 1:
        observed += f", {ran} DELETEs in the server's log"
    as_promised = waited is not None and waited.fits(deletion.waits)
    return Promise(
        f"{deletion.task_id} {deletion.how} until a human approves, then runs once",
        task.succeeded and as_promised and before > 0 and left == 0 and ran == 1,
        observed,
    )


def no_secret(stage: Stage, kept: Mapping[str, bytes]) -> Promise:
    passwords = [value.encode() for value in stage.target_passwords]
    found = [where for where, everything in kept.items() if any(one in everything for one in passwords)]
    return Promise(
        f"the database's password never reaches {stage.form.example.orchestrator}",
        not found,
        f"found in what {' and what '.join(found)}" if found else f"not in anything {', nor in anything '.join(kept)}",
    )


def _verified(stage: Stage, bundle: Path) -> Promise:
    with stage.client("rae") as rae:
        sessions = [one.id for one in rae.sessions(SessionFilter(dag_id=stage.form.example.id))]
        rae.export(bundle, sessions=sessions)
    key = PublicKey.parse((stage.gateway.directory / "data" / "keys" / "checkpoint.pub").read_bytes())
    found = verify(bundle, public_keys=[key])
    return Promise(
        "the recorded trail verifies offline",
        found.ok and found.trusted and len(found.sessions) == len(sessions) >= 3,
        f"{len(found.sessions)} sessions, {sum(one.records for one in found.sessions)} records, "
        + (str(found.first) if found.first else f"{found.checkpoints} signed checkpoints, nothing wrong"),
    )
