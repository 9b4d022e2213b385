"""All rules and masks in force, and the decisions they lead to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import cel

from taskgate.domain import Action, Pair, Principal, Target
from taskgate.policy.condition import Condition, Evaluation
from taskgate.policy.decision import Context, Decision
from taskgate.policy.effects import READS
from taskgate.policy.facts import FactRecord
from taskgate.policy.judgement import Considered, conclude, required
from taskgate.policy.masks import EffectiveMasks, Mask
from taskgate.policy.problems import Problem
from taskgate.policy.rule import Rule
from taskgate.policy.rule_index import RuleIndex

_MOST_INDEXES = 1024


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
        self._indexes: dict[tuple[str, str], RuleIndex] = {}
        self._by_target: dict[str, tuple[Rule, ...]] = {}

    def __repr__(self) -> str:
        return f"PolicySet({self.version[:12]}, {len(self.rules)} rules, {len(self.all_masks)} masks)"

    def decide(self, principal: Principal, target: Target, action: Action, context: Context) -> Decision:
        """What policy says. Never raises for anything in the action: what cannot be judged is denied."""
        index = self.index(principal, target)
        pairs = required(action)
        touched: dict[Rule, list[Pair]] = {}
        for pair in pairs:
            for rule in index.touching(pair):
                touched.setdefault(rule, []).append(pair)
        evaluations = evaluate(
            {rule.condition for rule in touched if rule.condition is not None}, principal, target, action, context
        )
        unsure = index.unsure
        return conclude(
            pairs,
            [
                Considered(
                    rule,
                    tuple(found),
                    unsure.get(rule.id, ""),
                    evaluations[rule.condition] if rule.condition is not None else None,
                )
                for rule, found in touched.items()
            ],
        )

    def masks(self, principal: Principal, target: Target) -> EffectiveMasks:
        """The masks that apply, whatever is done."""
        return EffectiveMasks(mask for mask in self.all_masks if mask.applies(principal, target))

    def reads_only(self, principal: Principal, target: Target) -> bool:
        """Whether no rule, under any condition, lets this principal do more than read on this target."""
        rules = self.index(principal, target).rules
        return all(rule.effects <= READS for rule in rules if rule.grants)

    def index(self, principal: Principal, target: Target) -> RuleIndex:
        """The rules that are, or may be, about this principal on this target."""
        key = (target.name, principal.attribute_key)
        index = self._indexes.get(key)
        if index is None:
            if len(self._indexes) >= _MOST_INDEXES:
                self._indexes.clear()
            index = self._indexes[key] = RuleIndex(self._on(target), principal)
        return index

    def _on(self, target: Target) -> tuple[Rule, ...]:
        rules = self._by_target.get(target.name)
        if rules is None:
            if len(self._by_target) >= _MOST_INDEXES:
                self._by_target.clear()
            rules = self._by_target[target.name] = tuple(
                rule for rule in self.rules if rule.targets.matches(target.name)
            )
        return rules


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
