"""What the demo promises about attempts: how well each is known, and that what it held dies with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from taskgate.client import Client, SessionFilter
from taskgate.client.models import Credential, Principal
from taskgate.demo.forms import Form, LastReads
from taskgate.demo.orchestrator import Orchestrator, TaskEnd
from taskgate.demo.promise import Promise
from taskgate.demo.stage import Stage
from taskgate.domain import Assurance

_MOST_SECONDS = 90.0  # callbacks may read for a minute after their attempt


def known_as_promised(stage: Stage, orchestrator: Orchestrator, tasks: Mapping[str, TaskEnd]) -> Promise:
    """Of each task, as the sessions of its attempts were known."""
    form = orchestrator.form
    with stage.client("rae") as rae:
        known = [session.principal for session in rae.sessions(SessionFilter(dag_id=form.example.id))]
    found = ", ".join(sorted({one.assurance for one in known})) or "nothing"
    started = {name for name, task in tasks.items() if task.started}
    as_wanted = {one.name.rpartition(".")[2] for one in known} == started and found == form.assurance
    if form.assurance is Assurance.ASSERTED:
        return Promise(form.known.promise, as_wanted, f"{len(known)} sessions, all {found}")
    wrong = [one.name for one in known if not _proven(one, form, tasks)]
    observed = f"{len(known)} sessions, all {found}"
    if wrong:
        observed = f"not of the attempt as {form.example.orchestrator} has it: {wrong}"
    facts = attributes(known[0], form) if known else "nothing known of any"
    try:
        keys = len(orchestrator.keys_on_workers)
    except RuntimeError as error:
        return Promise(form.known.promise, False, f"{observed}; {facts}; {error}")
    return Promise(
        form.known.promise,
        as_wanted and not wrong and keys == 0,
        f"{observed}; {facts}; {form.known.keys}: {keys}",
    )


def attributes(principal: Principal, form: Form) -> str:
    """What the orchestrator was asked for of a proven task, in words."""
    return ", ".join(f"{word} {principal.attributes.get(name)}" for name, word in form.known.attributes.items())


def _proven(one: Principal, form: Form, tasks: Mapping[str, TaskEnd]) -> bool:
    task = tasks.get(one.name.rpartition(".")[2])
    return (
        one.verified_by == form.known.verified_by
        and one.attempt is not None
        and task is not None
        and one.attempt.id in task.attempts
        and all(one.attributes.get(name) for name in form.known.attributes)
    )


def credentials_die(stage: Stage, kind: str, last: LastReads, tasks: Mapping[str, TaskEnd]) -> Promise:
    """Waits until all are dead, or for as long as last reads may take and a little longer. `kind` is what has ended: a
    DAG or a flow."""
    attempts = [attempt for task in tasks.values() for attempt in task.attempts]
    began = time.monotonic()
    with stage.client("rae") as rae:
        held = _held(rae, attempts)
        while (writing := _writing(held)) and time.monotonic() - began < last.noticed_within:
            time.sleep(0.2)
            held = _held(rae, attempts)
        noticed = time.monotonic() - began
        while live := [one for attempt in attempts for one in rae.credentials(attempt=attempt, live=True)]:
            if time.monotonic() - began > _MOST_SECONDS:
                break
            time.sleep(1)
        after = _held(rae, attempts)
    early = all(one.expires_at > datetime.now(UTC) for one in after)  # dead, and not for their age
    once = f"once the {kind} had ended" if noticed < 1 else f"{noticed:.0f} s after the {kind} had ended"
    return Promise(
        last.promise,
        len(held) >= sum(task.started for task in tasks.values()) and writing == 0 and not live and early,
        f"{len(held)} credentials of {len(attempts)} attempts: {writing} could write {once}, "
        f"{len(live)} alive {time.monotonic() - began:.0f} s later",
    )


def _held(rae: Client, attempts: list[str]) -> list[Credential]:
    return [one for attempt in attempts for one in rae.credentials(attempt=attempt)]


def _writing(held: list[Credential]) -> int:
    return sum(one.confined_until is None and one.revoked_at is None for one in held)
