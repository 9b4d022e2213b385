"""Why policy says what it says to one action: every rule, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from taskgate.domain import Action, MaskRule, Pair, Principal, Target, Verdict
from taskgate.policy.condition import Evaluation, Outcome
from taskgate.policy.decision import Context, Decision
from taskgate.policy.judgement import required
from taskgate.policy.masks import Mask
from taskgate.policy.policy_set import PolicySet, evaluate
from taskgate.policy.principals import Fit
from taskgate.policy.rule import Rule

_MOST_SHOWN = 6


class Stage(StrEnum):
    """How far a rule came."""

    MATCHED = "matched"
    TARGET = "target"
    PRINCIPAL = "principal"
    EFFECT = "effect"
    OBJECT = "object"
    CONDITION = "condition"


@dataclass(frozen=True, slots=True)
class RuleReport:
    """What became of one rule: `stage` is MATCHED, or what it failed at, and `why` says how. `pairs` are those it
    speaks about. `refuses`: it did not plainly match, but it refuses all the same (fail closed)."""

    rule: str
    verdict: Verdict
    place: str
    stage: Stage
    why: str = ""
    pairs: tuple[Pair, ...] = ()
    refuses: bool = False

    @property
    def matched(self) -> bool:
        return self.stage is Stage.MATCHED


@dataclass(frozen=True, slots=True)
class MaskReport:
    """What became of one mask: whether it applies, and else why not."""

    mask: str
    kind: str
    place: str
    applies: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """`pairs`: what had to be covered. `columns`: the masks of the columns that the action touches."""

    decision: Decision
    pairs: tuple[Pair, ...]
    rules: tuple[RuleReport, ...]
    masks: tuple[MaskReport, ...]
    columns: dict[str, MaskRule]
    policy_version: str


def explain(policy: PolicySet, principal: Principal, target: Target, action: Action, context: Context) -> Explanation:
    """Asks every rule on its own, without the index that decisions use."""
    pairs = required(action)
    conditions = {rule.condition for rule in policy.rules if rule.condition is not None}
    evaluations = evaluate(conditions, principal, target, action, context)
    effective = policy.masks(principal, target)
    return Explanation(
        decision=policy.decide(principal, target, action, context),
        pairs=pairs,
        rules=tuple(
            _rule(rule, principal, target, pairs, evaluations[rule.condition] if rule.condition else None)
            for rule in policy.rules
        ),
        masks=tuple(_mask(mask, principal, target) for mask in policy.all_masks),
        columns={name: rule for name in columns_of(action) if (rule := effective.column(name)) is not None},
        policy_version=policy.version,
    )


def columns_of(action: Action) -> list[str]:
    """Every column that an action touches in any way, sorted."""
    found: set[str] = set()
    for facts in action.facts:
        found |= facts.columns_read | facts.columns_outside_output | facts.columns_flowing
        found.update(source for output in facts.outputs or () for source in output.sources)
    return sorted(found)


def _rule(
    rule: Rule, principal: Principal, target: Target, pairs: tuple[Pair, ...], evaluation: Evaluation | None
) -> RuleReport:
    def report(stage: Stage, why: str = "", touched: tuple[Pair, ...] = (), *, refuses: bool = False) -> RuleReport:
        return RuleReport(rule.id, rule.verdict, rule.place, stage, why, touched, refuses)

    if not rule.targets.matches(target.name):
        return report(Stage.TARGET, _about(rule.targets.patterns))
    fit = rule.principals.fit(principal)
    if fit.fit is Fit.NO or (fit.fit is Fit.UNSURE and rule.verdict is Verdict.ALLOW):
        return report(Stage.PRINCIPAL, fit.why)
    touched = tuple(pair for pair in pairs if rule.touches(pair))
    if not touched:
        return report(*_untouched(rule, pairs))
    outcome = evaluation.outcome if evaluation is not None else Outcome.TRUE
    if outcome is Outcome.TRUE and fit.fit is Fit.YES:
        return report(Stage.MATCHED, rule.reason or "", touched)
    if outcome is Outcome.TRUE:
        return report(Stage.PRINCIPAL, fit.why, touched, refuses=True)
    assert evaluation is not None
    refuses = outcome is Outcome.FAILED or (outcome is Outcome.UNKNOWN and rule.verdict is not Verdict.ALLOW)
    return report(Stage.CONDITION, evaluation.why or "it is false", touched, refuses=refuses)


def _untouched(rule: Rule, pairs: tuple[Pair, ...]) -> tuple[Stage, str]:
    of_effect = [pair for pair in pairs if pair.effect in rule.effects]
    if not of_effect:
        return Stage.EFFECT, _about(rule.spec.match.effects)
    if rule.grants and all(not pair.resolved for pair in of_effect):
        names = ", ".join(pair.object for pair in of_effect)
        return Stage.OBJECT, f"the catalogue does not know {names}"
    return Stage.OBJECT, _about(rule.spec.match.objects or ())


def _about(patterns: Sequence[str]) -> str:
    more = f" and {len(patterns) - _MOST_SHOWN} more" if len(patterns) > _MOST_SHOWN else ""
    return f"it is about {', '.join(patterns[:_MOST_SHOWN])}{more}"


def _mask(mask: Mask, principal: Principal, target: Target) -> MaskReport:
    why = ""
    if not mask.targets.matches(target.name):
        why = _about(mask.targets.patterns)
    elif not mask.applies(principal, target):
        why = mask.fit(principal).why
    return MaskReport(mask.id, str(mask.kind), mask.place, not why, why)
