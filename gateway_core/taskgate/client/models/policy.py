"""The policy in force, and what it says."""

from __future__ import annotations

from typing import Self

from pydantic import AwareDatetime, Field, IPvAnyAddress, model_validator

from taskgate.client.models.approvals import ApprovalTerms
from taskgate.client.models.base import Answer, AttributeValue, Name, Request
from taskgate.domain import Assurance, PrincipalKind, Verdict


class PolicyStatus(Answer):
    """The policy in force. `problem` says what is wrong with the newest files when they could not be loaded: then the
    last good set stays in force. `warnings` are doubts that did not keep it from loading."""

    version: str
    files: list[str]
    rules: int | None = None
    masks: int | None = None
    warnings: list[str] = Field(default_factory=list)
    problem: str | None = None


class PolicySource(Answer):
    path: str
    text: str


class PolicySources(Answer):
    version: str
    sources: list[PolicySource]


class ExplainPrincipal(Request):
    """Whose decision to explain. Nothing is issued or run."""

    kind: PrincipalKind = PrincipalKind.TASK
    source: Name
    name: Name | None = None
    assurance: Assurance = Assurance.VERIFIED
    dag_id: Name | None = None
    run_id: Name = "explain"
    task_id: Name | None = None
    map_index: int = Field(default=-1, ge=-1)
    try_number: int = Field(default=1, ge=1)
    attributes: dict[Name, AttributeValue] = Field(default_factory=dict, max_length=64)


class ExplainRequest(Request):
    """Either `session`, an earlier or open one whose principal and target it is about, or `target` and `principal`.
    `parameters` are bound as texts (null is NULL); without a list none are bound yet. Unset, `time` is now, and
    `client_address` the session's or the caller's."""

    target: Name | None = None
    text: str = Field(max_length=1 << 20)
    principal: ExplainPrincipal | None = None
    session: Name | None = None
    search_path: str | None = Field(default=None, max_length=1000)
    parameters: list[str | None] | None = Field(default=None, max_length=65535)
    time: AwareDatetime | None = None
    client_address: IPvAnyAddress | None = None

    @model_validator(mode="after")
    def _about_somebody(self) -> Self:
        described = (self.target is not None, self.principal is not None)
        if described != ((True, True) if self.session is None else (False, False)):
            raise ValueError("name a session, or a target and a principal")
        return self


class RuleMatch(Answer):
    rule: str
    verdict: str
    reason: str | None = None


class RuleReport(Answer):
    """What became of one rule: `stage` is `matched`, or what it failed at (`target`, `principal`, `effect`, `object`,
    `condition`), and `why` says how. `refuses`: it did not plainly match and refuses all the same (fail closed)."""

    rule: str
    verdict: Verdict
    place: str
    stage: str
    why: str = ""
    pairs: list[str] = Field(default_factory=list)
    refuses: bool = False


class MaskReport(Answer):
    """What became of one mask: whether it applies to this principal and target, and else why not."""

    mask: str
    kind: str
    place: str
    applies: bool
    why: str = ""


class MaskedColumn(Answer):
    """A masked column that the statement touches, and the mask that applies."""

    column: str
    kind: str
    mask: str


class Explanation(Answer):
    """What policy says to one action, and why. `pairs` are the effects found; `uncovered` those no rule allows; `masks`
    what would be masked for this principal, `considered` and `considered_masks` every rule and mask there is.
    `refused_by_mask`: rules let it pass, but a masked column stands where masking cannot hide it. `undecided`: a
    condition looks at the bound parameters; `wants_impact`: at how many rows the planner expects. Then `verdict` says
    what happens without either: deny."""

    target: str = ""
    verdict: Verdict
    reason: str | None = None
    policy_version: str
    complete: bool
    pairs: list[str]
    notes: list[str] = Field(default_factory=list)
    matches: list[RuleMatch]
    considered: list[RuleReport] = Field(default_factory=list)
    uncovered: list[str] = Field(default_factory=list)
    terms: ApprovalTerms | None = None
    masks: list[str] = Field(default_factory=list)
    considered_masks: list[MaskReport] = Field(default_factory=list)
    columns: list[MaskedColumn] = Field(default_factory=list)
    refused_by_mask: bool = False
    row_bound: int | None = None
    recording: str = ""
    cacheable: bool = False
    undecided: bool = False
    wants_impact: bool = False
