"""What a service key may say of a task, and what becomes of it: a principal whose whole assurance is `asserted`.

Nobody has proven any of it but that the key's holder says so; policy sees that as `principal.assurance`, and rules
match asserted principals only where they say so. What people are (`groups`, `aliases`) and what the gateway itself
finds out cannot be stated at all.
"""

from __future__ import annotations

from collections.abc import Mapping

from taskgate.api.authentication import Caller
from taskgate.api.problems import ApiProblem, not_permitted
from taskgate.client.models import AttributeValue, FieldProblem, TaskClaim
from taskgate.domain import Assurance, Attempt, Principal, PrincipalKind, TaskKey

ASSERTABLE: Mapping[str, type[str] | type[tuple[str, ...]]] = {
    "bundle": str,
    "bundle_version": str,
    "queue": str,
    "run_type": str,
    "triggering_user": str,
    "deployment": str,
    "work_pool": str,
    "owner": str,
    "tags": tuple,
    "flow": str,
}
"""Attributes a service key may state of a task, and their types."""

SOURCE_PREFIX = "source:"
"""A service key with groups such as `source:prod-airflow` may state tasks of those sources only."""


def task_principal(claim: TaskClaim, caller: Caller) -> Principal:
    """The asserted principal. Raises ApiProblem where this key may not say this."""
    may_speak_for(claim.source, caller)
    task = TaskKey(claim.source, claim.dag_id, claim.run_id, claim.task_id, claim.map_index)
    return Principal(
        kind=PrincipalKind.TASK,
        name=task.name,
        source=claim.source,
        assurance=Assurance.ASSERTED,
        verified_by=f"api-key:{caller.principal.name}",
        attributes=_attributes(claim.attributes),
        attempt=Attempt(claim.attempt_id, task, claim.try_number),
    )


def may_speak_for(source: str, caller: Caller) -> None:
    """Raises ApiProblem where the key is bound to other sources."""
    sources = {
        group.removeprefix(SOURCE_PREFIX) for group in caller.principal.groups if group.startswith(SOURCE_PREFIX)
    }
    if sources and source not in sources:
        raise not_permitted(f"this key speaks for {', '.join(sorted(sources))} only", code="source_not_permitted")


POOL_PREFIX, DEPLOYMENT_PREFIX = "work-pool:", "deployment:"
"""A service key with groups such as `work-pool:etl` or `deployment:orders-cleanup/nightly` may speak for flow runs of
those only."""


def may_speak_for_run(facts: Mapping[str, object], caller: Caller) -> None:
    """Raises ApiProblem where the key is bound to other work pools or deployments than the flow run's."""
    for prefix, attribute in ((POOL_PREFIX, "work_pool"), (DEPLOYMENT_PREFIX, "deployment")):
        bound = {name.removeprefix(prefix) for name in caller.principal.groups if name.startswith(prefix)}
        if bound and facts.get(attribute) not in bound:
            raise not_permitted(
                f"this key speaks for flow runs of {prefix}{f', {prefix}'.join(sorted(bound))} only",
                code=f"{attribute}_not_permitted",
            )


def _attributes(stated: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    problems = []
    for name, value in stated.items():
        kind = ASSERTABLE.get(name)
        if kind is None:
            problems.append((name, f"cannot be stated with a key; what can: {', '.join(ASSERTABLE)}"))
        elif not isinstance(value, kind):
            problems.append((name, "must be a list of texts" if kind is tuple else "must be a text"))
        elif any(len(text) > 250 for text in ((value,) if isinstance(value, str) else value)):
            problems.append((name, "is too long"))
    if problems:
        errors = tuple(
            FieldProblem(where=f"body.principal.attributes.{name}", message=message) for name, message in problems
        )
        raise ApiProblem(422, "the request is not valid", errors=errors)
    return dict(stated)
