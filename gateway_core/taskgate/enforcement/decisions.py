"""From an action to a permit or a refusal, as far as no human and no clock is needed.

A `DecisionScope` holds everything a decision depends on besides the action: one principal's attributes, one target, one
policy set, one catalogue. Sessions of equal principals share it, and with it the permits already worked out. When the
policy or the catalogue is replaced a new scope takes its place and the old permits are gone with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from taskgate.domain import Action, Pair, Principal, Target, Verdict
from taskgate.enforcement import refusals
from taskgate.enforcement.content import ActionContents
from taskgate.enforcement.contracts import Permit
from taskgate.masking.plan import MaskedColumns, MaskPlan, plan
from taskgate.policy.decision import Context, Decision
from taskgate.policy.effects import READS
from taskgate.policy.policy_set import PolicySet
from taskgate.sql.catalog import Catalog

PermitKey = tuple[str, bool, tuple[int, ...], str, str]

_MOST_PERMITS = 8192
_MOST_SCOPES = 1024


@dataclass(frozen=True, slots=True)
class Judgement:
    """A decision that did not refuse: what it was and the permit it leads to (still without a grant)."""

    decision: Decision
    permit: Permit


def permit_key(action: Action) -> PermitKey:
    """What tells actions of one scope apart for the cache. Texts of one shape have the same facts, so the same permit.
    Parameters are not part of it: decisions that look at them, or at the text itself, are never cached."""
    environment, shape = action.environment, action.shape
    return shape or action.text, bool(shape), action.parameter_types, environment.search_path, environment.role


class DecisionScope:
    """Immutable inputs, a bounded cache of permits."""

    def __init__(
        self,
        principal: Principal,
        target: Target,
        policy: PolicySet,
        catalog: Catalog,
        hash_key: bytes,
        *,
        confined: bool = False,
        asks: bool = False,
    ) -> None:
        """`confined`: the principal's attempt is over, and whatever rules say it may only read. `asks`: nothing is
        changed, only asked for."""
        self.confined = confined
        self.asks = asks
        self.principal = principal
        self.target = target
        self.policy = policy
        self.catalog = catalog
        self.masks = MaskedColumns(policy.masks(principal, target), catalog, hash_key)
        self.baseline: MaskPlan = self.masks.baseline
        self.read_only = confined or asks or policy.reads_only(principal, target)
        self.contents = ActionContents()
        self._permits: dict[PermitKey, Permit] = {}

    def is_current(self, policy: PolicySet, catalog: Catalog) -> bool:
        return self.policy is policy and self.catalog is catalog

    @property
    def cautious_masks(self) -> tuple[MaskPlan, ...]:
        """For the record of an action that was refused before its masks were planned: whatever it was given, nothing
        that a detector knows or, where any column is masked, no parameter at all is recorded."""
        if self.masks.rules:
            return (MaskPlan(active=True, touched=True, detectors=self.masks.detectors, hash_key=self.masks.hash_key),)
        return (self.baseline,)

    def cached(self, action: Action) -> Permit | None:
        permit = self._permits.get(permit_key(action))
        return None if permit is None or _means_its_own(action) else permit

    def judge(self, action: Action, context: Context, session_id: str) -> Judgement:
        """Decide, plan the masks, keep the permit where it may be kept. Raises PolicyRefusal."""
        decision = self.policy.decide(self.principal, self.target, action, context)
        notes = tuple(note for facts in action.facts for note in facts.notes)
        open_question = decision.wants_impact or (decision.undecided and not action.executes)
        if self.confined and not _only_reads(action, decision):
            raise refusals.attempt_over(action.pairs, session_id)
        if decision.verdict is Verdict.DENY and not open_question:
            raise refusals.denied(decision, action.pairs, notes, session_id, missing=action.missing)
        reads = _reads(action)
        if self.asks and action.executes and decision.verdict is Verdict.ALLOW and not (open_question or reads):
            raise refusals.only_asks(decision.matches, action.pairs, session_id)
        if self.read_only and any(_opens_writing(pair) for pair in action.pairs):
            raise refusals.read_only(action.pairs, session_id)
        plans = tuple(plan(facts, self.masks) for facts in action.facts)
        permit = Permit(
            rules=tuple(match.rule for match in decision.matches if match.verdict != Verdict.DENY),
            masks=plans,
            row_bound=decision.row_bound,
            recording=decision.recording,
            durable=action.changes,
            may_change=not reads,
            read_only=self.read_only,
            needs_judgement=open_question
            or decision.verdict is Verdict.APPROVE
            or not decision.cacheable
            or (self.asks and not reads),
        )
        if not _means_its_own(action):
            self._keep(action, permit)
        return Judgement(decision, permit)

    def _keep(self, action: Action, permit: Permit) -> None:
        """A permit that needs judgement again is kept too: it carries the masks, and says that it is not enough."""
        if len(self._permits) >= _MOST_PERMITS:
            for key in list(self._permits)[: _MOST_PERMITS // 2]:
                del self._permits[key]
        self._permits[permit_key(action)] = permit


def _means_its_own(action: Action) -> bool:
    """The text means something in this session that it means in no other."""
    return any(facts.session_objects for facts in action.facts)


def _only_reads(action: Action, decision: Decision) -> bool:
    """Nobody is asked about an attempt that is over, and it tells nobody anything (NOTIFY)."""
    quiet = all(pair.effect != "sql.listen" for pair in action.pairs)
    return quiet and _reads(action) and decision.verdict is not Verdict.APPROVE


def _reads(action: Action) -> bool:
    """A function that is not known may do anything."""
    return action.complete and not action.changes and all(pair.effect in READS for pair in action.pairs)


def _opens_writing(pair: Pair) -> bool:
    """BEGIN READ WRITE, SET TRANSACTION READ WRITE and their like, which would lift the session's read-only start."""
    return pair.effect == "sql.transaction" and "read write" in pair.object


class DecisionScopes:
    """The scopes in use, by principal's attributes and target."""

    def __init__(self, hash_key: bytes) -> None:
        self._hash_key = hash_key
        self._scopes: dict[tuple[str, str, bool, bool], DecisionScope] = {}

    def current(
        self,
        principal: Principal,
        target: Target,
        policy: PolicySet,
        catalog: Catalog,
        *,
        confined: bool = False,
        asks: bool = False,
    ) -> DecisionScope:
        key = (principal.attribute_key, target.name, confined, asks)
        scope = self._scopes.get(key)
        if scope is None or not scope.is_current(policy, catalog):
            scope = DecisionScope(principal, target, policy, catalog, self._hash_key, confined=confined, asks=asks)
            while len(self._scopes) >= _MOST_SCOPES:  # sessions keep theirs; only sharing it ends
                del self._scopes[next(iter(self._scopes))]
            self._scopes[key] = scope
        return scope
