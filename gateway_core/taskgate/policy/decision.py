"""What policy is asked with, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from taskgate.domain import ApprovalTerms, Pair, RecordingLevel, Verdict
from taskgate.errors import RuleMatch


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision may look at besides who, what and where: `context.*` and `impact.*` in conditions.

    `client_address` is the client's IP address without its port. `impact` is the planner's estimate of what a
    statement touches (`rows`, `triggers`, `cascades`; what is not in it is not known); None while nobody has asked for
    one."""

    time: datetime = field(default_factory=_now)
    client_address: str = ""
    impact: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What policy says to one action.

    `verdict` is the final word unless `undecided` or `wants_impact` is true; then it is DENY, so that nobody who
    overlooks the flag lets something through, and the same question has to be asked again with parameters bound
    (`undecided`) or with an estimate in `Context.impact` (`wants_impact`).

    `matches` are the rules that led to the verdict, sorted by name: where rules refuse, those; else every allow and
    approve rule that covers something. `uncovered` are the pairs that no allow or approve rule covers. `row_bound` is
    the smallest `max_rows` of the matching rules, approval terms included. `cacheable` is false where a condition
    looked at something that the text, its types, the target and the principal's attributes do not determine."""

    verdict: Verdict
    matches: tuple[RuleMatch, ...] = ()
    uncovered: tuple[Pair, ...] = ()
    reason: str | None = None
    terms: ApprovalTerms | None = None
    recording: RecordingLevel = RecordingLevel.STATEMENTS
    row_bound: int | None = None
    cacheable: bool = True
    undecided: bool = False
    wants_impact: bool = False
