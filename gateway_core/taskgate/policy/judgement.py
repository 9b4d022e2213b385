"""From the rules that speak about an action to the decision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from taskgate.domain import Action, Facts, Pair, RecordingLevel, Verdict
from taskgate.errors import RuleMatch
from taskgate.policy.condition import Evaluation, Outcome
from taskgate.policy.decision import Decision
from taskgate.policy.rule import Rule, strictest

_SQL = frozenset({"postgres", "mysql"})
_NAMING = frozenset({"sql.call", "sql.unknown"})
_LEVELS = list(RecordingLevel)


class Considered(NamedTuple):
    """A rule that speaks about some of an action's pairs. `unsure` says why it may not be about this principal (only of
    approve and deny rules); `evaluation` is None where the rule has no condition."""

    rule: Rule
    pairs: tuple[Pair, ...]
    unsure: str = ""
    evaluation: Evaluation | None = None

    @property
    def outcome(self) -> Outcome:
        return self.evaluation.outcome if self.evaluation else Outcome.TRUE


def required(action: Action) -> tuple[Pair, ...]:
    """Every pair that some rule has to cover.

    Besides the pairs of its facts: a statement that may do more than they say also has `sql.unknown`, on each function
    it calls where those are why, else on nothing in particular. SQL that touches nothing (`SELECT 1`, an empty query)
    is a session matter; anything else without a pair is unknown."""
    if len(action.facts) == 1 and action.facts[0].complete and action.facts[0].pairs:
        return action.facts[0].pairs
    nothing = Pair("sql.session") if action.protocol in _SQL else Pair("sql.unknown")
    found = dict.fromkeys(pair for facts in action.facts for pair in _of_statement(facts))
    return tuple(found) or (nothing,)


def _of_statement(facts: Facts) -> Iterable[Pair]:
    yield from facts.pairs
    if facts.complete:
        return
    named = [pair for pair in facts.pairs if pair.effect in _NAMING]
    for pair in named:
        if pair.effect == "sql.call":
            yield Pair("sql.unknown", pair.object, pair.resolved)
    if not named or len(facts.notes) > len(named):
        yield Pair("sql.unknown")


def conclude(pairs: Sequence[Pair], considered: Sequence[Considered]) -> Decision:
    """The decision. `considered`: every rule that touches one of `pairs` and is, or may be, about the principal."""
    cacheable = not any(entry.rule.condition is not None and entry.rule.condition.volatile for entry in considered)
    denials = sorted(filter(None, map(_denial, considered)), key=lambda match: match.rule)
    speaking = sorted(
        (entry for entry in considered if entry.rule.grants and not entry.unsure and entry.outcome is Outcome.TRUE),
        key=lambda entry: entry.rule.id,
    )
    recording = _recording([*speaking, *(entry for entry in considered if not entry.rule.grants)])
    covered = {pair for entry in speaking for pair in entry.pairs}
    uncovered = tuple(pair for pair in pairs if pair not in covered)
    if denials:
        reason = next((match.reason for match in denials if match.reason), None)
        return Decision(Verdict.DENY, tuple(denials), uncovered, reason, recording=recording, cacheable=cacheable)
    matches = tuple(RuleMatch(entry.rule.id, str(entry.rule.verdict), entry.rule.reason) for entry in speaking)
    open_ = [entry for entry in considered if entry.outcome in (Outcome.NEEDS_PARAMETERS, Outcome.NEEDS_IMPACT)]
    hoped = {pair for entry in open_ if entry.rule.grants for pair in entry.pairs}
    lost = tuple(pair for pair in uncovered if pair not in hoped)
    if lost:
        return Decision(Verdict.DENY, matches, lost, _why(lost), recording=recording, cacheable=cacheable)
    if open_:
        return Decision(
            Verdict.DENY,
            matches,
            uncovered,
            "; ".join(sorted({entry.evaluation.why for entry in open_ if entry.evaluation})),
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
            denials = tuple(RuleMatch(rule.id, str(Verdict.DENY), reason) for rule in asking)
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


def _denial(entry: Considered) -> RuleMatch | None:
    """The rule's refusal, if it refuses. Whatever fails refuses; whatever is not known refuses where the rule
    restricts (deny, approve) and merely grants nothing where it allows."""
    deny = str(Verdict.DENY)
    rule = entry.rule
    match entry.outcome:
        case Outcome.FAILED:
            why = entry.evaluation.why if entry.evaluation else ""
            return RuleMatch(rule.id, deny, f"its condition fails: {why}")
        case Outcome.UNKNOWN if rule.verdict is not Verdict.ALLOW:
            why = entry.evaluation.why if entry.evaluation else ""
            return RuleMatch(rule.id, deny, f"its condition cannot be told: {why}")
        case Outcome.TRUE if entry.unsure:
            return RuleMatch(rule.id, deny, f"whether it applies cannot be told: {entry.unsure}")
        case Outcome.TRUE if rule.verdict is Verdict.DENY:
            return RuleMatch(rule.id, deny, rule.reason)
    return None


def _recording(entries: Iterable[Considered]) -> RecordingLevel:
    """The fullest level that a speaking rule states."""
    stated = [entry.rule.recording for entry in entries if entry.rule.recording and entry.outcome is Outcome.TRUE]
    return max(stated, key=_LEVELS.index, default=RecordingLevel.STATEMENTS)


def _why(uncovered: Sequence[Pair]) -> str | None:
    """What a reader of the refusal may not know about why nothing covers these."""
    unresolved = sorted({pair.object for pair in uncovered if not pair.resolved and pair.object})
    if unresolved:
        return f"no rule covers a name that the catalogue does not know: {', '.join(unresolved[:5])}"
    if any(pair.effect == "sql.unknown" for pair in uncovered):
        return "not everything it does is known, and only a rule that names sql.unknown covers that"
    return None
