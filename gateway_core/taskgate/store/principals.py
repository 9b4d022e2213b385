"""Principals as JSON and back, exactly: what a principal was decides who may approve and what is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskgate.domain import Assurance, Attempt, AttributeValue, Principal, PrincipalKind, TaskKey


def principal_to_json(principal: Principal) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "kind": principal.kind.value,
        "name": principal.name,
        "source": principal.source,
        "assurance": principal.assurance.value,
        "verified_by": principal.verified_by,
        "attributes": attributes_to_json(principal.attributes),
    }
    if principal.attempt:
        task = principal.attempt.task
        facts["attempt"] = {
            "id": principal.attempt.id,
            "try_number": principal.attempt.try_number,
            "logical_date": principal.attempt.logical_date,
            "run_name": principal.attempt.run_name,
            "of_run": principal.attempt.of_run,
            "task": [task.source, task.dag_id, task.run_id, task.task_id, task.map_index],
        }
    return facts


def principal_from_json(facts: Mapping[str, Any]) -> Principal:
    attempt = None
    if "attempt" in facts:
        stored = facts["attempt"]
        attempt = Attempt(
            id=stored["id"],
            task=TaskKey(*stored["task"]),
            try_number=stored["try_number"],
            logical_date=stored.get("logical_date", ""),
            run_name=stored.get("run_name", ""),
            of_run=stored.get("of_run", False),
        )
    return Principal(
        kind=PrincipalKind(facts["kind"]),
        name=facts["name"],
        source=facts["source"],
        assurance=Assurance(facts["assurance"]),
        verified_by=facts["verified_by"],
        attributes=attributes_from_json(facts["attributes"]),
        attempt=attempt,
    )


def attributes_to_json(attributes: Mapping[str, AttributeValue]) -> dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in attributes.items()}


def attributes_from_json(stored: Mapping[str, Any]) -> dict[str, AttributeValue]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
