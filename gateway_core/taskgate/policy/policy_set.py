"""All rules and masks in force, and the decisions they lead to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import cel

from taskgate.domain import Action, Pair, Principal, Target, Verdict
from taskgate.policy.condition import Condition, Evaluation
from taskgate.policy.decision import Context, Decision
from taskgate.policy.effects import READS
from taskgate.policy.facts import FactRecord
from taskgate.policy.judgement import Considered, conclude, required
from taskgate.policy.masks import EffectiveMasks, Mask
from taskgate.policy.principals import Fit, PrincipalFit
from taskgate.policy.problems import Problem
from taskgate.policy.rule import Rule
from taskgate.policy.rule_index import RuleIndex

_MOST_REMEMBERED = 1024


class PolicySet:
    """Immutable. `sources` is the text of every file by path, `version` their digest (SHA-256, hex): the same files in
    any order are the same version. `warnings` are doubts that did not keep it from loading."""

    def __init__(
        self,
        rules: Iterable[Rule],
        masks: Iterable[Mask],
        sources: Mapping[str, str],
        version_of: Iterable[str],
        warnings: Sequence[Problem] = (),
    ) -> None:
        """`version_of`: the texts that make up the version."""
        self.rules = tuple(sorted(rules, key=lambda rule: rule.id))
        self.all_masks = tuple(sorted(masks, key=lambda mask: mask.id))
        self.sources = MappingProxyType(dict(sources))
        self.warnings = tuple(warnings)
        digests = sorted(hashlib.sha256(text.encode()).hexdigest() for text in version_of)
        self.version = hashlib.sha256("\n".join(digests).encode()).hexdigest()
        self._indexes: dict[str, RuleIndex] = {}
        self._fits: dict[str, dict[int, PrincipalFit]] = {}

    def __repr__(self) -> str:
        return f"PolicySet({self.version[:12]}, {len(self.rules)} rules, {len(self.all_masks)} masks)"

    def decide(self, principal: Principal, target: Target, action: Action, context: Context) -> Decision:
        """What policy says. Never raises for anything in the action: what cannot be judged is denied."""
        index = self._on(target)
        pairs = required(action)
        touched: dict[Rule, list[Pair]] = {}
        for pair in pairs:
            for rule in index.touching(pair):
                touched.setdefault(rule, []).append(pair)
        fits = self._fits_of(principal)
        speaking: list[tuple[Rule, list[Pair], PrincipalFit]] = []
        conditions: set[Condition] = set()
        for rule, found in touched.items():
            fit = fits.get(id(rule.principals)) or self._fit(fits, rule, principal)
            if fit.fit is Fit.NO or (fit.fit is Fit.UNSURE and rule.verdict is Verdict.ALLOW):
                continue
            speaking.append((rule, found, fit))
            if rule.condition is not None:
                conditions.add(rule.condition)
        evaluations = evaluate(conditions, principal, target, action, context)
        decision = conclude(
            pairs,
            [
                Considered(rule, found, fit, evaluations[rule.condition] if rule.condition is not None else None)
                for rule, found, fit in speaking
            ],
        )
        if decision.uncovered and decision.verdict is Verdict.DENY and decision.reason is None:
            return replace(decision, reason=self._nearly(decision.uncovered, touched, fits))
        return decision

    @staticmethod
    def _nearly(
        uncovered: Iterable[Pair], touched: Mapping[Rule, list[Pair]], fits: Mapping[int, PrincipalFit]
    ) -> str | None:
        """The allow rule that would cover one of these if the principal were better known, or known otherwise."""
        for rule, found in touched.items():
            fit = fits[id(rule.principals)]
            nearly = fit.fit is Fit.UNSURE or (fit.fit is Fit.NO and fit.name == "assurance")
            if nearly and rule.verdict is Verdict.ALLOW and not set(found).isdisjoint(uncovered):
                return f"rule {rule.id} would, but {fit.why}"
        return None

    def masks(self, principal: Principal, target: Target) -> EffectiveMasks:
        """The masks that apply, whatever is done."""
        return EffectiveMasks(mask for mask in self.all_masks if mask.applies(principal, target))

    def reads_only(self, principal: Principal, target: Target) -> bool:
        """Whether no rule, under any condition, lets this principal do more than read on this target."""
        return all(
            rule.effects <= READS or rule.principals.fit(principal).fit is Fit.NO
            for rule in self._on(target).rules
            if rule.grants
        )

    def grants_anything(self, principal: Principal, target: Target) -> bool:
        """Whether any rule but the built-in ones may let this principal do something on this target."""
        return any(
            rule.grants and not rule.builtin and rule.principals.fit(principal).fit is not Fit.NO
            for rule in self._on(target).rules
        )

    def _on(self, target: Target) -> RuleIndex:
        """The rules that are about this target."""
        index = self._indexes.get(target.name)
        if index is None:
            if len(self._indexes) >= _MOST_REMEMBERED:
                self._indexes.clear()
            rules = (rule for rule in self.rules if rule.targets.matches(target.name))
            index = self._indexes[target.name] = RuleIndex(rules)
        return index

    def _fits_of(self, principal: Principal) -> dict[int, PrincipalFit]:
        """What is known of this principal already, by the identity of `Rule.principals`: equal ones are one object."""
        fits = self._fits.get(principal.attribute_key)
        if fits is None:
            if len(self._fits) >= _MOST_REMEMBERED:
                self._fits.clear()
            fits = self._fits[principal.attribute_key] = {}
        return fits

    @staticmethod
    def _fit(fits: dict[int, PrincipalFit], rule: Rule, principal: Principal) -> PrincipalFit:
        fit = fits[id(rule.principals)] = rule.principals.fit(principal)
        return fit


def evaluate(
    conditions: Iterable[Condition], principal: Principal, target: Target, action: Action, context: Context
) -> dict[Condition, Evaluation]:
    """Every condition over one record of the facts that any of them looks at."""
    wanted = tuple(conditions)
    if not wanted:
        return {}
    record = FactRecord({path for condition in wanted for path in condition.uses}, principal, target, action, context)
    values = cel.Context(record.values)
    oversize = frozenset(record.oversize)
    bound, estimated = action.parameters is not None, context.impact is not None
    return {
        condition: condition.evaluate(values, oversize=oversize, parameters_bound=bound, impact=estimated)
        for condition in wanted
    }
