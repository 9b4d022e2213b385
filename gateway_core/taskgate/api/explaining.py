"""What policy would say to a statement, by the very functions that judge the real one: the same analysis, the same
decision, the same mask planning. Nothing is run, recorded or asked of a human."""

from __future__ import annotations

from taskgate.api import rendering
from taskgate.client import models
from taskgate.domain import Action, Attempt, Environment, MaskKind, Principal, PrincipalKind, Target, TaskKey, Verdict
from taskgate.enforcement.decisions import DecisionScope
from taskgate.errors import PolicyRefusal
from taskgate.policy.decision import Context
from taskgate.policy.explain import explain as explain_rules
from taskgate.policy.policy_set import PolicySet
from taskgate.sql.catalog import Catalog
from taskgate.sql.postgres import analyze
from taskgate.sql.search_path import parse

_SEARCH_PATH = '"$user", public'  # PostgreSQL's own default


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
    asked: models.ExplainRequest, target: Target, policy: PolicySet, catalog: Catalog, client_address: str = ""
) -> models.Explanation:
    """Raises ClientFault where the text is no SQL."""
    principal = principal_of(asked.principal)
    search_path = asked.search_path if asked.search_path is not None else _SEARCH_PATH
    facts = tuple(analyze(asked.text, catalog, parse(search_path, target.user)))
    action = Action(
        protocol=target.protocol,
        text=asked.text,
        facts=facts,
        environment=Environment(role=target.user, search_path=search_path, catalog_version=catalog.version),
        parameters=None,
        executes=False,
    )
    context = Context(client_address=client_address)
    explanation = explain_rules(policy, principal, target, action, context)
    decision = explanation.decision
    scope = DecisionScope(principal, target, policy, catalog, hash_key=bytes(32))
    verdict, reason = decision.verdict, decision.reason
    try:
        scope.judge(action, context, "explain")
    except PolicyRefusal as refusal:
        if verdict is not Verdict.DENY:  # masking cannot hide what this statement does with a masked column
            verdict, reason = Verdict.DENY, refusal.message
    return models.Explanation(
        verdict=verdict,
        reason=reason,
        policy_version=policy.version,
        complete=action.complete,
        pairs=[str(pair) for pair in action.pairs],
        notes=[note for statement in facts for note in statement.notes],
        matches=[models.RuleMatch(rule=m.rule, verdict=m.verdict, reason=m.reason) for m in decision.matches],
        considered=[
            models.RuleReport(
                rule=rule.rule,
                verdict=rule.verdict,
                place=rule.place,
                stage=rule.stage,
                why=rule.why,
                pairs=[str(pair) for pair in rule.pairs],
                refuses=rule.refuses,
            )
            for rule in explanation.rules
        ],
        uncovered=[str(pair) for pair in decision.uncovered],
        terms=rendering.terms(decision.terms) if decision.terms else None,
        masks=sorted(mask.mask for mask in explanation.masks if mask.applies and mask.kind != MaskKind.NONE),
        undecided=decision.undecided,
        wants_impact=decision.wants_impact,
    )
