"""What a wait asks of Prefect's API, as calls that a synchronous or an asynchronous client makes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator
from typing import Any
from uuid import UUID

import httpx
from prefect.client.schemas.responses import SetStateStatus

from taskgate_prefect import compat
from taskgate_prefect.approvals.page import ApprovalDecision, decision_form
from taskgate_prefect.approvals.waiting import PauseRun, ResumeRun, SeeRun

Log = logging.Logger | logging.LoggerAdapter[Any]
AWAY = (httpx.HTTPError, OSError)
"""What the client raises where the API is out of reach or in trouble, after its own tries."""

Calls = Generator[Callable[[Any], Any], Any, Any]
"""Yields what to do with a client; is sent what came back, or thrown what was raised; returns the step's answer."""


def prefect_calls(step: SeeRun | PauseRun | ResumeRun, flow_run_id: UUID, log: Log) -> Calls:
    match step:
        case SeeRun():
            run = yield lambda client: client.read_flow_run(flow_run_id)
            return run.state
        case PauseRun():
            return (yield from _pause(step, flow_run_id, log))
        case ResumeRun():
            return (yield from _resume(step, flow_run_id))


def _pause(step: PauseRun, flow_run_id: UUID, log: Log) -> Calls:
    state, keys = compat.paused_state(step.key, step.seconds, suspended=step.suspended)
    result = yield lambda client: client.set_flow_run_state(flow_run_id, state)
    if result.status is not SetStateStatus.ACCEPT:
        return None
    where = step.approval.url or f"`taskgate approvals approve {step.approval.id}`"
    verb = "suspended" if step.suspended else "paused"
    log.info("The flow run is %s until somebody decides about %s: %s", verb, step.approval.id, where)
    form = decision_form(step.approval)
    try:
        yield _save(flow_run_id, keys["description"], form._description)
        yield _save(flow_run_id, keys["schema"], compat.input_schema(form))
    except AWAY as error:  # people see less of it, and the run waits all the same
        log.warning("Prefect did not take what its page should show of %s: %s", step.approval.id, type(error).__name__)
    return result.state


def _resume(step: ResumeRun, flow_run_id: UUID) -> Calls:
    run = yield lambda client: client.read_flow_run(flow_run_id)
    if not compat.is_paused(run.state) or compat.pause_key(run.state) != step.key:
        return
    said = {"approval_id": step.approval_id, "decision": step.decision}
    result = yield lambda client: client.resume_flow_run(flow_run_id, run_input=said)
    if result.status is SetStateStatus.REJECT:  # without a form nobody can resume it
        keys = run.state.state_details.run_input_keyset or {}
        if "schema" in keys:
            yield _save(flow_run_id, keys["schema"], compat.input_schema(ApprovalDecision))
            yield lambda client: client.resume_flow_run(flow_run_id, run_input=said)


def _save(flow_run_id: UUID, key: str, value: Any) -> Callable[[Any], Any]:
    text = json.dumps(value)
    return lambda client: client.create_flow_run_input(flow_run_id, key, text)
