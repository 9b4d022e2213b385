"""What policy would say to a statement, by the very functions that judge the real one: the same analysis, the same
decision, the same mask planning. Nothing is run, recorded or asked of a human."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from taskgate.api import rendering
from taskgate.client import models
from taskgate.domain import (
    Action,
    Attempt,
    Environment,
    Parameter,
    Principal,
    PrincipalKind,
    Target,
    TaskKey,
    Verdict,
)
from taskgate.enforcement.decisions import DecisionScope
from taskgate.errors import PolicyRefusal
from taskgate.masking.plan import plan
from taskgate.policy.decision import Context
from taskgate.policy.explain import explain as explain_rules
from taskgate.policy.policy_set import PolicySet
from taskgate.sql.catalog import Catalog
from taskgate.sql.postgres import analyze
from taskgate.sql.search_path import parse

_SEARCH_PATH = '"$user", public'  # PostgreSQL's own default
_UNTYPED = 0


def principal_of(asked: models.ExplainPrincipal) -> Principal:
    """The principal as it would be issued to."""
    attempt = None
    name = asked.name
    if asked.kind is PrincipalKind.TASK:
        dag_id, task_id = asked.dag_id or "explain", asked.task_id or "explain"
        task = TaskKey(asked.source, dag_id, asked.run_id, task_id, asked.map_index)
        attempt = Attempt("explain", task, asked.try_number)
        name = name or f"{dag_id}.{task_id}"
    return Principal(
        kind=asked.kind,
        name=name or "explain",
        source=asked.source,
        assurance=asked.assurance,
        verified_by="explain",
        attributes=dict(asked.attributes),
        attempt=attempt,
    )


def explain(
    asked: models.ExplainRequest,
    principal: Principal,
    target: Target,
    policy: PolicySet,
    catalog: Catalog,
    client_address: str = "",
) -> models.Explanation:
    """Raises ClientFault where the text is no SQL."""
    search_path = asked.search_path if asked.search_path is not None else _SEARCH_PATH
    action = Action(
        protocol=target.protocol,
        text=asked.text,
        facts=tuple(analyze(asked.text, catalog, parse(search_path, target.user))),
        environment=Environment(role=target.user, search_path=search_path, catalog_version=catalog.version),
        parameters=None if asked.parameters is None else _bound(asked.parameters),
        executes=asked.parameters is not None,
    )
    address = str(asked.client_address) if asked.client_address else client_address
    return judged(principal, target, policy, catalog, action, Context(asked.time or datetime.now(UTC), address))


def _bound(texts: Sequence[str | None]) -> tuple[Parameter, ...]:
    return tuple(Parameter(_UNTYPED, 0, None if text is None else text.encode()) for text in texts)


def judged(
    principal: Principal, target: Target, policy: PolicySet, catalog: Catalog, action: Action, context: Context
) -> models.Explanation:
    """Rules and masks together, as a session asks them."""
    found = explain_rules(policy, principal, target, action, context)
    scope = DecisionScope(principal, target, policy, catalog, hash_key=bytes(32))
    refusal = None
    try:
        scope.judge(action, context, "explain")
    except PolicyRefusal as refused:
        if found.decision.verdict is not Verdict.DENY:
            refusal = refused.message
    by_mask = refusal is not None and _mask_refuses(scope, action)
    return rendering.explanation(found, target, action, refusal=refusal, refused_by_mask=by_mask)


def _mask_refuses(scope: DecisionScope, action: Action) -> bool:
    try:
        for facts in action.facts:
            plan(facts, scope.masks)
    except PolicyRefusal:
        return True
    return False
