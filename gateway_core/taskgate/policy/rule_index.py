"""The rules of one target, found by effect and object without trying them all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from taskgate.domain import Pair
from taskgate.policy.effects import EFFECTS
from taskgate.policy.globs import Matcher
from taskgate.policy.rule import Rule


@dataclass(slots=True)
class _ByObject:
    anywhere: list[Rule] = field(default_factory=list)
    literal: dict[str, list[Rule]] = field(default_factory=dict)
    globs: dict[Matcher, list[Rule]] = field(default_factory=dict)

    def add(self, rule: Rule) -> None:
        if rule.objects is None:
            self.anywhere.append(rule)
            return
        for name in rule.objects.literals:
            self.literal.setdefault(name, []).append(rule)
        for glob in rule.objects.globs:
            self.globs.setdefault(glob, []).append(rule)

    def find(self, name: str) -> Sequence[Rule]:
        """Each rule once."""
        found = [*self.anywhere, *self.literal.get(name, ())]
        several = False
        for glob, rules in self.globs.items():
            if glob(name):
                several = several or bool(found)
                found += rules
        return list(dict.fromkeys(found)) if several else found


class RuleIndex:
    """`rules` in the order of their names."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._effects: dict[str, _ByObject] = {}

    def touching(self, pair: Pair) -> Sequence[Rule]:
        """The rules that speak about this pair (`Rule.touches`)."""
        by_object = self._effects.get(pair.effect)
        if by_object is None:
            if pair.effect not in EFFECTS:
                return ()
            by_object = self._effects[pair.effect] = self._build(pair.effect)
        found = by_object.find(pair.object)
        return found if pair.resolved else [rule for rule in found if not rule.grants]

    def _build(self, effect: str) -> _ByObject:
        by_object = _ByObject()
        for rule in self.rules:
            if effect in rule.effects:
                by_object.add(rule)
        return by_object
