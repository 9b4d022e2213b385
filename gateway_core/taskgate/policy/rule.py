"""A rule as decisions use it."""

from __future__ import annotations

from dataclasses import dataclass

from taskgate.domain import ApprovalTerms, Pair, RecordingLevel, Verdict
from taskgate.policy import model
from taskgate.policy.condition import Condition
from taskgate.policy.effects import EFFECTS, WRITTEN_OUT
from taskgate.policy.globs import GlobSet, is_literal
from taskgate.policy.principals import PrincipalMatch


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """`effects` are written out: a glob has been expanded over the vocabulary. `objects` None: any object, and none.
    `place` is `file:line`."""

    id: str
    verdict: Verdict
    targets: GlobSet
    principals: PrincipalMatch
    effects: frozenset[str]
    objects: GlobSet | None
    condition: Condition | None
    reason: str | None
    terms: ApprovalTerms | None
    recording: RecordingLevel | None
    max_rows: int | None
    place: str
    builtin: bool
    spec: model.Rule

    @property
    def grants(self) -> bool:
        return self.verdict is not Verdict.DENY

    def touches(self, pair: Pair) -> bool:
        """Whether the rule speaks about this effect on this object. What is unresolved is granted by nothing, while a
        denial may meet the name as it is written."""
        if pair.effect not in self.effects or (self.grants and not pair.resolved):
            return False
        return self.objects is None or self.objects.matches(pair.object)


def _effects(spec: model.Rule) -> frozenset[str]:
    globs = GlobSet(spec.match.effects)
    matched = {effect for effect in EFFECTS if globs.matches(effect)}
    if spec.verdict is not Verdict.DENY:
        matched -= WRITTEN_OUT
    return frozenset(matched | {effect for effect in spec.match.effects if is_literal(effect)})


def _terms(spec: model.Approval | None) -> ApprovalTerms | None:
    if spec is None:
        return None
    return ApprovalTerms(
        approvers=tuple(dict.fromkeys(spec.approvers)),
        hold=spec.hold,
        hold_in_transaction=spec.hold_in_transaction,
        expires=spec.expires,
        uses=spec.uses,
        max_rows=spec.max_rows,
        streams=spec.streams == "allow",
        allow_requester=spec.allow_requester,
        channels=tuple(sorted(set(spec.channels))),
    )


def compile_rule(
    spec: model.Rule, condition: Condition | None, place: str, *, builtin: bool, principals: PrincipalMatch
) -> Rule:
    """`condition` and `principals` are the rule's own, already compiled."""
    objects = GlobSet(spec.match.objects) if spec.match.objects is not None else None
    return Rule(
        id=spec.id,
        verdict=spec.verdict,
        targets=GlobSet(spec.match.targets),
        principals=principals,
        effects=_effects(spec),
        objects=None if objects is not None and objects.everything else objects,
        condition=condition,
        reason=spec.reason,
        terms=_terms(spec.approval),
        recording=spec.record,
        max_rows=spec.limits.max_rows if spec.limits else None,
        place=place,
        builtin=builtin,
        spec=spec,
    )


def strictest(terms: list[ApprovalTerms]) -> ApprovalTerms | None:
    """The terms that satisfy all of these: the shortest times, the fewest uses and rows, and those approvers and
    channels that every one of them names. None where no approver is left."""
    first, *others = terms
    approvers = tuple(entry for entry in first.approvers if all(entry in other.approvers for other in others))
    channels = tuple(entry for entry in first.channels if all(entry in other.channels for other in others))
    if not approvers:
        return None
    bounds = [entry.max_rows for entry in terms if entry.max_rows is not None]
    return ApprovalTerms(
        approvers=tuple(sorted(approvers)),
        hold=min(entry.hold for entry in terms),
        hold_in_transaction=min(entry.hold_in_transaction for entry in terms),
        expires=min(entry.expires for entry in terms),
        uses=min(entry.uses for entry in terms),
        max_rows=min(bounds) if bounds else None,
        streams=all(entry.streams for entry in terms),
        allow_requester=all(entry.allow_requester for entry in terms),
        channels=channels,
    )
