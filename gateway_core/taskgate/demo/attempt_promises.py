"""What the demo promises about attempts: how well each is known, and that what it held dies with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from taskgate.client import SessionFilter
from taskgate.client.models import Principal
from taskgate.demo.airflow import Airflow
from taskgate.demo.promise import Promise
from taskgate.demo.stage import DAG_ID, SOURCE, Stage
from taskgate.domain import Assurance

_MOST_SECONDS = 90.0  # callbacks may read for a minute after their attempt


def known_as_promised(stage: Stage, airflow: Airflow, tasks: Mapping[str, Any]) -> Promise:
    """Of each task, as the sessions of its attempt were known."""
    with stage.client("rae") as rae:
        known = [session.principal for session in rae.sessions(SessionFilter(dag_id=DAG_ID))]
    wanted = airflow.form.assurance
    found = ", ".join(sorted({one.assurance for one in known})) or "nothing"
    as_wanted = {one.name.rpartition(".")[2] for one in known} == set(tasks) and found == wanted
    if wanted is Assurance.ASSERTED:
        return Promise(
            "every task is known as asserted: this Airflow vouches for it with its own key",
            as_wanted,
            f"{len(known)} sessions, all {found}",
        )
    wrong = [one.name for one in known if not _proven(one, tasks)]
    some = known[0].attributes if known else {}
    observed = f"{len(known)} sessions, all {found}" if not wrong else f"not of the attempt as Airflow has it: {wrong}"
    return Promise(
        "every task is verified by its own token, under rules content with nothing less; no worker holds a key",
        as_wanted and not wrong and not airflow.keys_on_workers,
        f"{observed}; bundle {some.get('bundle')}, DAG version {some.get('dag_version')}, started by "
        f"{some.get('triggering_user')}; keys where workers run: {len(airflow.keys_on_workers)}",
    )


def _proven(one: Principal, tasks: Mapping[str, Any]) -> bool:
    attributes, attempt = one.attributes, one.attempt
    return (
        one.verified_by == f"airflow:{SOURCE}, by its token"
        and attempt is not None
        and attempt.id == tasks.get(one.name.rpartition(".")[2], {}).get("id")
        and all(attributes.get(name) for name in ("bundle", "dag_version", "triggering_user"))
    )


def credentials_die(stage: Stage, tasks: Mapping[str, Any]) -> Promise:
    """Waits until all are dead, or for as long as callbacks may take and a little longer."""
    attempts = [task["id"] for task in tasks.values()]
    began = time.monotonic()
    with stage.client("rae") as rae:
        held = [one for attempt in attempts for one in rae.credentials(attempt=attempt)]
        writing = sum(one.confined_until is None and one.revoked_at is None for one in held)
        while live := [one for attempt in attempts for one in rae.credentials(attempt=attempt, live=True)]:
            if time.monotonic() - began > _MOST_SECONDS:
                break
            time.sleep(1)
        after = [one for attempt in attempts for one in rae.credentials(attempt=attempt)]
    early = all(one.expires_at > datetime.now(UTC) for one in after)  # dead, and not for their age
    return Promise(
        "what an attempt was given dies with it: it writes no more, and reads for no more than its callbacks' minute",
        len(held) >= len(tasks) and writing == 0 and not live and early,
        f"{len(held)} credentials of {len(attempts)} attempts: {writing} could write once the DAG had ended, "
        f"{len(live)} alive {time.monotonic() - began:.0f} s later",
    )
