"""From the rules that speak about an action to the decision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from taskgate.domain import Action, Facts, Pair, RecordingLevel, Verdict
from taskgate.errors import RuleMatch
from taskgate.policy.condition import Evaluation, Outcome
from taskgate.policy.decision import Decision
from taskgate.policy.effects import WRITTEN_OUT
from taskgate.policy.principals import Fit, PrincipalFit
from taskgate.policy.rule import Rule, strictest

_SQL = frozenset({"postgres", "mysql"})
_FROM_NOWHERE = Pair("sql.select")
_LEVELS = list(RecordingLevel)
_DENY = str(Verdict.DENY)
_OPEN = (Outcome.NEEDS_PARAMETERS, Outcome.NEEDS_IMPACT)


class Considered(NamedTuple):
    """A rule that speaks about some of an action's pairs, and is (`fit` YES) or may be (UNSURE: deny and approve rules
    only) about the principal. `evaluation` is None where the rule has no condition."""

    rule: Rule
    pairs: Sequence[Pair]
    fit: PrincipalFit
    evaluation: Evaluation | None = None

    @property
    def outcome(self) -> Outcome:
        return self.evaluation.outcome if self.evaluation is not None else Outcome.TRUE

    @property
    def why(self) -> str:
        return self.evaluation.why if self.evaluation is not None else ""


def required(action: Action) -> tuple[Pair, ...]:
    """Every pair that some rule has to cover.

    These are the pairs of its facts, and more: a statement that may do more than they say also has `sql.unknown`, on
    each function it calls where those are why, else on nothing in particular. SQL that touches nothing (`SELECT 1`, an
    empty query) is a session matter; anything else without a pair is unknown."""
    nothing = Pair("sql.session", "select") if action.protocol in _SQL else Pair("sql.unknown")
    found: dict[Pair, None] = {}
    for facts in action.facts:
        for pair in facts.pairs:
            found[nothing if pair == _FROM_NOWHERE else pair] = None
        if not facts.complete:
            found.update(dict.fromkeys(_unknown(facts)))
    return tuple(found) or (nothing,)


def _unknown(facts: Facts) -> Iterable[Pair]:
    """What an incomplete statement has besides. Each reason is one of the facts' notes; a called function is the reason
    for one of them (for two where a procedure is called)."""
    named = [pair for pair in facts.pairs if pair.effect in WRITTEN_OUT]
    for pair in named:
        if pair.effect == "sql.call":
            yield Pair("sql.unknown", pair.object, pair.resolved)
    if not named or len(facts.notes) > len(named) + (facts.tag == "CALL"):
        yield Pair("sql.unknown")


def conclude(pairs: Sequence[Pair], considered: Iterable[Considered]) -> Decision:
    """The decision. `considered`: every rule that touches one of `pairs` and is, or may be, about the principal."""
    cacheable = True
    denials: list[RuleMatch] = []
    speaking: list[Considered] = []
    open_: list[Considered] = []
    recording: RecordingLevel | None = None
    for entry in considered:
        rule, outcome = entry.rule, entry.outcome
        cacheable = cacheable and not (rule.condition is not None and rule.condition.volatile)
        denial = _denial(entry, outcome)
        if denial is not None:
            denials.append(denial)
        elif outcome is Outcome.TRUE:
            speaking.append(entry)
        elif outcome in _OPEN:
            open_.append(entry)
        if outcome is Outcome.TRUE and rule.recording is not None:
            recording = max(recording or rule.recording, rule.recording, key=_LEVELS.index)
    speaking.sort(key=lambda entry: entry.rule.id)
    recording = recording or RecordingLevel.STATEMENTS
    covered = {pair for entry in speaking for pair in entry.pairs}
    uncovered = tuple(pair for pair in pairs if pair not in covered)
    if denials:
        denials.sort(key=lambda match: match.rule)
        reason = next((match.reason for match in denials if match.reason), None)
        return Decision(Verdict.DENY, tuple(denials), uncovered, reason, recording=recording, cacheable=cacheable)
    matches = tuple(RuleMatch(entry.rule.id, str(entry.rule.verdict), entry.rule.reason) for entry in speaking)
    hoped = {pair for entry in open_ if entry.rule.grants for pair in entry.pairs}
    lost = tuple(pair for pair in uncovered if pair not in hoped)
    if lost:
        return Decision(Verdict.DENY, matches, lost, _why(lost), recording=recording, cacheable=cacheable)
    if open_:
        return Decision(
            Verdict.DENY,
            matches,
            uncovered,
            "; ".join(sorted({entry.why for entry in open_})),
            recording=recording,
            cacheable=False,
            undecided=any(entry.outcome is Outcome.NEEDS_PARAMETERS for entry in open_),
            wants_impact=any(entry.outcome is Outcome.NEEDS_IMPACT for entry in open_),
        )
    return _granted(speaking, matches, recording, cacheable)


def _granted(
    speaking: Sequence[Considered], matches: tuple[RuleMatch, ...], recording: RecordingLevel, cacheable: bool
) -> Decision:
    bounds = [entry.rule.max_rows for entry in speaking if entry.rule.max_rows is not None]
    asking = [entry.rule for entry in speaking if entry.rule.terms is not None]
    terms = None
    if asking:
        terms = strictest([rule.terms for rule in asking if rule.terms is not None])
        if terms is None:
            names = " and ".join(rule.id for rule in asking)
            reason = f"rules {names} ask different approvers, and nobody is named by all of them"
            denials = tuple(RuleMatch(rule.id, _DENY, reason) for rule in asking)
            return Decision(Verdict.DENY, denials, (), reason, recording=recording, cacheable=cacheable)
        if terms.max_rows is not None:
            bounds.append(terms.max_rows)
    return Decision(
        Verdict.APPROVE if asking else Verdict.ALLOW,
        matches,
        reason=next((rule.reason for rule in asking if rule.reason), None),
        terms=terms,
        recording=recording,
        row_bound=min(bounds) if bounds else None,
        cacheable=cacheable,
    )


def _denial(entry: Considered, outcome: Outcome) -> RuleMatch | None:
    """The rule's refusal, if it refuses. Whatever fails refuses; whatever is not known refuses where the rule
    restricts (deny, approve) and merely grants nothing where it allows."""
    rule = entry.rule
    if outcome is Outcome.TRUE:
        if entry.fit.fit is Fit.UNSURE:
            return RuleMatch(rule.id, _DENY, f"whether it applies cannot be told: {entry.fit.why}")
        return RuleMatch(rule.id, _DENY, rule.reason) if rule.verdict is Verdict.DENY else None
    if outcome is Outcome.FAILED:
        return RuleMatch(rule.id, _DENY, f"its condition fails: {entry.why}")
    if outcome is Outcome.UNKNOWN and rule.verdict is not Verdict.ALLOW:
        return RuleMatch(rule.id, _DENY, f"its condition cannot be told: {entry.why}")
    return None


def _why(uncovered: Sequence[Pair]) -> str | None:
    """What a reader of the refusal may not know about why nothing covers these."""
    unresolved = sorted({pair.object for pair in uncovered if not pair.resolved and pair.object})
    if unresolved:
        return f"no rule covers a name that the catalogue does not know: {', '.join(unresolved[:5])}"
    if any(pair.effect == "sql.unknown" for pair in uncovered):
        return "not everything it does is known, and only a rule that names sql.unknown covers that"
    return None
