"""Doubts about a policy that is well formed: what probably is not meant. They never keep it from loading."""

from __future__ import annotations

from collections.abc import Iterator

from taskgate.domain import Assurance, PrincipalKind, Verdict
from taskgate.policy import model
from taskgate.policy.effects import READS
from taskgate.policy.fact_names import PRINCIPAL, Origin
from taskgate.policy.globs import is_literal, names_everything
from taskgate.policy.rule import Rule

_SESSION = frozenset({"sql.transaction", "sql.session", "sql.set"})


def doubts(rule: Rule) -> Iterator[str]:
    """What is doubtful about a rule, for people."""
    if rule.grants:
        yield from _chosen_by_authors(rule)
        yield from _claimed(rule)
    if rule.verdict is Verdict.APPROVE:
        yield from _session_effects(rule)


def _identity(rule: Rule) -> set[str]:
    """The principal's facts by which the rule tells principals of one kind and source apart."""
    spec = rule.spec.match.principals
    named = {
        name
        for name, value in (model.plain(spec) if spec else {}).items()
        if PRINCIPAL[name].origin is not Origin.SCOPE and not all(map(names_everything, value))
    }
    looked_at = rule.condition.identity if rule.condition else frozenset()
    return named | {path.partition(".")[2] for path in looked_at}


def _chosen_by_authors(rule: Rule) -> Iterator[str]:
    kinds = rule.principals.kinds
    if kinds is not None and PrincipalKind.TASK not in kinds:
        return
    identity = _identity(rule)
    chosen = sorted(name for name in identity if PRINCIPAL[name].origin is Origin.AUTHOR)
    if chosen and len(chosen) == len(identity):
        yield (
            f"rests only on {', '.join(chosen)}, which every author of a DAG or flow can choose: "
            "name what the platform sets as well (bundle, run_type, deployment, work_pool, …)"
        )


def _claimed(rule: Rule) -> Iterator[str]:
    changing = rule.effects - READS
    if rule.verdict is Verdict.ALLOW and changing and Assurance.ASSERTED in rule.principals.assurances:
        shown = ", ".join(sorted(changing)[:3]) + (", …" if len(changing) > 3 else "")
        yield f"allows {shown} to principals that are only asserted to be who they are"


def _session_effects(rule: Rule) -> Iterator[str]:
    swept = sorted(_SESSION & rule.effects - {name for name in rule.spec.match.effects if is_literal(name)})
    if swept and rule.objects is None:
        yield f"asks a human about {', '.join(swept)} too (BEGIN, SET, SHOW, …): name the effects that are meant"
