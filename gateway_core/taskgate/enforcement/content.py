"""What an action, a refusal and a result say in the record. What a mask covers is replaced before it gets here.

The statement's text is recorded exactly as the client wrote it (that is the evidence); bound parameters are replaced
where the statement involves a masked column, and where a detector finds something in them.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskgate.domain import Action, Outcome, Parameter, RecordingLevel
from taskgate.enforcement.contracts import Permit
from taskgate.errors import PolicyRefusal, RuleMatch
from taskgate.masking.plan import MaskPlan
from taskgate.recording.records import ActionTemplate, RecordedAction, RecordedParameter, encode_result

_MOST_CONTENTS = 4096


class ActionContent:
    """What an action says each time it runs under one permit: the unchanging part is worked out once."""

    __slots__ = ("_masks", "_plan", "_scanner", "_template", "_touched", "_with_parameters", "action", "effects")

    def __init__(self, action: Action, permit: Permit) -> None:
        self.action = action
        self.effects = frozenset(pair.effect for pair in action.pairs)
        self._template = ActionTemplate(_allowed(action, permit))
        self._with_parameters = permit.recording is not RecordingLevel.METADATA
        self._masks = permit.masks if permit.masked else ()
        self._touched = any(plan.touched for plan in self._masks)
        self._plan = next((plan for plan in self._masks if plan.detectors), None)
        self._scanner = self._plan.scanner if self._plan is not None else None

    def fits(self, action: Action) -> bool:
        """Whether nothing but the text can differ: number literals that the facts do not depend on."""
        known = self.action
        return known is action or (
            known.facts is action.facts
            and known.environment is action.environment
            and known.transaction is action.transaction
        )

    def encode(self, parameters: Sequence[Parameter], text: str | None = None) -> bytes:
        """`text`: what was sent, where it is not the action's."""
        if not parameters or not self._with_parameters:
            return self._template.content(text=text)
        if self._touched:
            return self._template.content(recorded_parameters(parameters, self._masks), text=text)
        plan, scanner = self._plan, self._scanner
        if plan is None or scanner is None:
            return self._template.content(parameters, text=text)
        # Most parameters hold nothing that a detector looks for: those are recorded as they are.
        kept = [
            parameter
            if scanner is None or parameter.value is None or (parameter.format == 0 and scanner.clean(parameter.value))
            else _scanned(parameter, plan)
            for parameter in parameters
        ]
        return self._template.content(kept, text=text)


class ActionContents:
    """The contents in use, by permit and environment (one with other settings shares the permit); bounded."""

    def __init__(self) -> None:
        self._contents: dict[tuple[Permit, int], ActionContent] = {}

    def of(self, action: Action, permit: Permit) -> ActionContent:
        key = permit, id(action.environment)  # which the content keeps alive
        known = self._contents.get(key)
        if known is None or (known.action is not action and not known.fits(action)):
            if len(self._contents) >= _MOST_CONTENTS:
                self._contents.clear()
            known = self._contents[key] = ActionContent(action, permit)
        return known


def refused(action: Action, refusal: PolicyRefusal, level: RecordingLevel, masks: Sequence[MaskPlan]) -> RecordedAction:
    """A refusal's record: the same words as the client got."""
    return _recorded(
        action,
        level,
        verdict="approve" if refusal.approval_id else "deny",
        rules=refusal.rules,
        parameters=recorded_parameters(action.parameters or (), masks),
        approval_id=refusal.approval_id,
        reason=refusal.message,
        pending=refusal.pending,
    )


def parked(action: Action, permit: Permit, rules: tuple[RuleMatch, ...], approval_id: str) -> RecordedAction:
    return _recorded(
        action,
        permit.recording,
        verdict="approve",
        rules=rules,
        parameters=recorded_parameters(action.parameters or (), permit.masks),
        row_bound=permit.row_bound,
        approval_id=approval_id,
    )


def result(sequence: int, outcome: Outcome, seconds: float) -> bytes:
    return encode_result(sequence, outcome, int(seconds * 1_000_000))


def recorded_parameters(parameters: Sequence[Parameter], masks: Sequence[MaskPlan]) -> tuple[RecordedParameter, ...]:
    """Withheld whole where a masked column is involved; else what the detectors find is replaced."""
    if any(plan.touched for plan in masks):
        return tuple(
            RecordedParameter(parameter.type_oid, parameter.format, masked="masked column") for parameter in parameters
        )
    plan = next((plan for plan in masks if plan.detectors), None)
    return tuple(_scanned(parameter, plan) for parameter in parameters)


def _scanned(parameter: Parameter, plan: MaskPlan | None) -> RecordedParameter:
    recorded = RecordedParameter.of(parameter)
    if plan is None or parameter.value is None:
        return recorded
    if recorded.text is not None:
        found = plan.scrub(recorded.text) != recorded.text
    else:  # as bytes, in which look-alikes in UTF-8 show, and as Latin-1, which every sequence of bytes is
        latin = parameter.value.decode("latin-1")
        found = plan.scrub(latin) != latin or (
            plan.scanner is not None and bool(plan.scanner.replace(parameter.value)[1])
        )
    return RecordedParameter(parameter.type_oid, parameter.format, masked="detector") if found else recorded


def _allowed(action: Action, permit: Permit) -> RecordedAction:
    return _recorded(
        action,
        permit.recording,
        verdict="allow",
        rules=tuple(RuleMatch(rule, "approve" if permit.approval_id else "allow") for rule in permit.rules),
        row_bound=permit.row_bound,
        approval_id=permit.approval_id,
    )


def _recorded(
    action: Action,
    level: RecordingLevel,
    *,
    verdict: str,
    rules: tuple[RuleMatch, ...],
    parameters: tuple[RecordedParameter, ...] = (),
    row_bound: int | None = None,
    approval_id: str | None = None,
    reason: str | None = None,
    pending: bool = False,
) -> RecordedAction:
    bare = level is RecordingLevel.METADATA
    return RecordedAction(
        protocol=action.protocol,
        text=None if bare else action.text,
        pairs=tuple(str(pair) for pair in action.pairs),
        verdict=verdict,
        rules=rules,
        parameters=None if bare else parameters,
        tags=tuple(facts.tag for facts in action.facts),
        complete=action.complete,
        notes=tuple(note for facts in action.facts for note in facts.notes),
        role=action.environment.role,
        search_path=action.environment.search_path,
        settings=action.environment.settings,
        transaction=str(action.transaction),
        row_bound=row_bound,
        approval_id=approval_id,
        reason=reason,
        pending=pending,
    )
