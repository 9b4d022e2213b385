"""The rules of one principal on one target, found by effect and object without trying them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from taskgate.domain import Pair, Principal, Verdict
from taskgate.policy.effects import EFFECTS
from taskgate.policy.globs import Matcher
from taskgate.policy.principals import Fit, PrincipalFit
from taskgate.policy.rule import Rule


@dataclass(slots=True)
class _ByObject:
    anywhere: list[Rule] = field(default_factory=list)
    literal: dict[str, list[Rule]] = field(default_factory=dict)
    globs: list[tuple[tuple[Matcher, ...], frozenset[str], Rule]] = field(default_factory=list)

    def add(self, rule: Rule) -> None:
        if rule.objects is None:
            self.anywhere.append(rule)
            return
        names, globs = rule.objects.by_pattern()
        for name in names:
            self.literal.setdefault(name, []).append(rule)
        if globs:
            self.globs.append((globs, frozenset(names), rule))

    def find(self, name: str) -> Iterator[Rule]:
        yield from self.anywhere
        yield from self.literal.get(name, ())
        for globs, names, rule in self.globs:
            if name not in names and any(glob(name) for glob in globs):
                yield rule


class RuleIndex:
    """`rules` are those that are, or may be, about the principal: an allow rule only where it surely is. `unsure` says
    of the others why they only may be, by rule id."""

    def __init__(self, rules: Iterable[Rule], principal: Principal) -> None:
        self.unsure: dict[str, str] = {}
        found: list[Rule] = []
        fits: dict[int, PrincipalFit] = {}  # by identity: equal ones are the same object
        for rule in rules:
            fit = fits.get(id(rule.principals))
            if fit is None:
                fit = fits[id(rule.principals)] = rule.principals.fit(principal)
            if fit.fit is Fit.NO or (fit.fit is Fit.UNSURE and rule.verdict is Verdict.ALLOW):
                continue
            if fit.fit is Fit.UNSURE:
                self.unsure[rule.id] = fit.why
            found.append(rule)
        self.rules = tuple(found)
        self._effects: dict[str, _ByObject] = {}

    def _build(self, effect: str) -> _ByObject:
        by_object = _ByObject()
        for rule in self.rules:
            if effect in rule.effects:
                by_object.add(rule)
        return by_object

    def touching(self, pair: Pair) -> Iterator[Rule]:
        """The rules that speak about this pair (`Rule.touches`)."""
        by_object = self._effects.get(pair.effect)
        if by_object is None:
            if pair.effect not in EFFECTS:
                return iter(())
            by_object = self._effects[pair.effect] = self._build(pair.effect)
        found = by_object.find(pair.object)
        return found if pair.resolved else (rule for rule in found if not rule.grants)
