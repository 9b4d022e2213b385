"""What Prefect's REST API says of a run, a deployment or a flow, read strictly.

A name that tells identities apart is taken whole or not at all: cut short it could be another's. What is only shown is
cut short. All raise ValueError, KeyError, TypeError or AttributeError for what they do not understand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from taskgate.identity.orchestrators.prefect.runs import Deployment, FlowRun, TaskRun

LONGEST = 250  # characters of a name
_MOST = 100  # tags, job variables
_MOST_COUNTED = 2**31 - 1  # what the store keeps; a client may have Prefect record any number
_TASK_KEY = re.compile(r"(.+)-[0-9a-f]{8}", re.DOTALL)  # the function's name and a hash of its source
# Control characters, and what turns a line of text around or breaks it.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def flow_run(found: Mapping[str, Any]) -> FlowRun:
    state = found["state"]
    if state is None:
        state = {"type": "PENDING", "name": "Pending", "timestamp": found["created"]}
    details = state.get("state_details") or {}
    creator = found.get("created_by") or {}
    return FlowRun(
        id=_id(found["id"]),
        name=_shown(found["name"]),
        flow_id=_id(found["flow_id"]),
        deployment_id=_id_or_none(found.get("deployment_id")),
        work_pool=_name_or_none(found.get("work_pool_name")),
        state=_shown(state["type"]),
        state_name=_shown(state["name"]),
        state_at=_time(state["timestamp"]),
        suspended=state["type"] == "PAUSED" and bool(details.get("pause_reschedule")),
        pause_key=_shown(details["pause_key"]) if details.get("pause_key") else None,
        run_count=_count(found["run_count"]),
        parent_task_run_id=_id_or_none(found.get("parent_task_run_id")),
        scheduled=bool(found.get("auto_scheduled")),
        tags=tuple(sorted(_shown(tag) for tag in (found.get("tags") or [])[:_MOST])),
        created_by=_name_or_none(creator.get("display_value")) if creator.get("type") == "USER" else None,
        overrides=_overrides(found.get("job_variables") or {}),
        pauses=len((found.get("empirical_policy") or {}).get("pause_keys") or ()),
    )


def task_run(found: Mapping[str, Any]) -> TaskRun:
    state = {"type": "PENDING"} if found["state"] is None else found["state"]
    task_key = _shown(found["task_key"])
    named = _TASK_KEY.fullmatch(task_key)
    return TaskRun(
        id=_id(found["id"]),
        name=_shown(found["name"]),
        task=named[1] if named else task_key,
        flow_run_id=_id_or_none(found.get("flow_run_id")),
        state=_shown(state["type"]),
        run_count=_count(found["run_count"]),
    )


def deployment(found: Mapping[str, Any]) -> Deployment:
    return Deployment(_name(found["name"]), _id(found["flow_id"]), _name_or_none(found.get("work_pool_name")))


def flow_name(found: Mapping[str, Any]) -> str:
    """Prefect lets no slash into it, and the keys of approvals rely on that."""
    name = _name(found["name"])
    if "/" in name:
        raise ValueError("a slash in a flow's name")
    return name


def _overrides(variables: Mapping[str, Any]) -> tuple[str, ...]:
    """All of them or none: of a few that were left out nobody would know."""
    if len(variables) > _MOST:
        raise ValueError("too many job variables")
    return tuple(sorted(map(_name, variables)))


def _id(value: object) -> str:
    return str(UUID(_text(value)))


def _id_or_none(value: object) -> str | None:
    return None if value is None else _id(value)


def _name(value: object) -> str:
    text = _text(value)
    if not 0 < len(text) <= LONGEST or _CONTROL.search(text):
        raise ValueError("no name")
    return text


def _name_or_none(value: object) -> str | None:
    return None if value is None or value == "" else _name(value)


def _shown(value: object) -> str:
    return _CONTROL.sub(" ", _text(value)[:LONGEST])


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    value.encode()  # half of a surrogate pair is no text: UnicodeEncodeError is a ValueError
    return value


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_COUNTED:
        raise ValueError("not a count")
    return value


def _time(value: object) -> datetime:
    time = datetime.fromisoformat(_text(value))
    if time.tzinfo is None:
        raise ValueError("a time without its zone")
    return time
