"""Facts of a governed statement in Airflow's hook lineage, beside what the stock hook reports there.

Airflow collects only where a plugin registers a reader; ours does once `[taskgate] url` is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskgate_airflow.compat import hook_lineage_collector
from taskgate_airflow.refusals import approval_id, session_in

LINEAGE_KEY = "taskgate"


def session_id(connection: Any) -> str | None:
    """The gateway's id of a driver's connection, from `application_name` as the target reports it
    (`taskgate ses_… <the client's name>`); None where it cannot be told. Ask before the client sets another."""
    try:
        info = getattr(connection, "info", None)
        reported = info.parameter_status("application_name") if info is not None else None
    except Exception:  # noqa: BLE001  a driver that does not tell is no reason to fail a task
        return None
    words = (reported or "").split()
    return words[1] if len(words) > 1 and words[0] == "taskgate" and words[1].startswith("ses_") else None


def report_statement(
    hook: Any,
    sql: str | Sequence[str],
    *,
    session: str | None,
    asked: Sequence[str] = (),
    error: Exception | None = None,
) -> None:
    """One entry `taskgate`: the statement, the gateway's session, what became of it (`ran`, `pending`, `refused`,
    `failed`) and the approvals it asked for or was given. Never raises, as stock lineage never does."""
    try:
        if (collector := hook_lineage_collector()) is None:
            return
        approvals = list(asked)
        outcome = "ran"
        if error is not None:
            session = session_in(error) or session
            approval = approval_id(error)
            outcome = "pending" if approval else "refused" if session_in(error) else "failed"
            approvals += [approval] if approval else []
        facts = {
            "sql": sql if isinstance(sql, str) else "; ".join(sql),
            "session_id": session,
            "outcome": outcome,
            "approvals": approvals,
        }
        collector.add_extra(context=hook, key=LINEAGE_KEY, value=facts)
    except Exception as fault:  # noqa: BLE001
        hook.log.warning("taskgate: lineage could not be reported: %s", type(fault).__name__)
