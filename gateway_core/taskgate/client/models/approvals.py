"""Requests for a human decision."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from taskgate.client.models.base import Answer, Name, Request
from taskgate.client.models.principals import Principal
from taskgate.domain import ApprovalState


class ApprovalTerms(Answer):
    """What the rule demands. `hold`, `hold_in_transaction`, `expires` in seconds. `channels`: where else than with the
    gateway it may be decided."""

    approvers: list[str]
    hold: float
    hold_in_transaction: float
    expires: float
    uses: int
    max_rows: int | None = None
    streams: bool = False
    allow_requester: bool = False
    channels: list[str] = Field(default_factory=list)


class Environment(Answer):
    """What besides the text decides what the statement does on the target."""

    role: str = ""
    search_path: str = ""
    settings: list[tuple[str, str]] = Field(default_factory=list)
    catalog_version: int = 0


class Approval(Answer):
    """A request for a human decision about one action; once approved, also the grant. `text` is exact: control and
    bidirectional characters in it must be made visible before a person reads it. `held`: a connection waits for it,
    until `waits_until` at the latest. `may_decide` is about the key that asks; `may_not_because` says why not, and
    `nobody_may_because` why no live key at all may decide it while it is pending (None: some may). `outdated_because`
    says why approving it opens nothing any more, though it is pending or has uses left (None: it does). `used_in`: the
    sessions in which its grant was used, where a task asks about itself."""

    id: str
    state: ApprovalState
    principal: Principal
    target: str
    session_id: str
    text: str
    pairs: list[str]
    rules: list[str]
    terms: ApprovalTerms
    policy_version: str
    requested_at: datetime
    expires_at: datetime
    environment: Environment = Environment()
    estimate: dict[str, Any] | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    comment: str | None = None
    uses_left: int = 0
    held: bool = False
    waits_until: datetime | None = None
    digest: str
    owner_key: str
    url: str | None = None
    may_decide: bool = False
    may_not_because: str | None = None
    nobody_may_because: str | None = None
    outdated_because: str | None = None
    used_in: list[str] = Field(default_factory=list)


class ApprovalParameter(Answer):
    """One bound parameter as the client sent it. `encoding` says what `value` is: `text`, or `hex` of the bytes where
    they are no readable text; `shown` is a reading of a binary value for people, where the type is known."""

    index: int
    type_oid: int
    type_name: str | None = None
    encoding: Literal["text", "hex", "null"]
    value: str | None = None
    shown: str | None = None


class ApprovalParameters(Answer):
    approval_id: str
    parameters: list[ApprovalParameter]


class ApprovalIds(Request):
    ids: list[Name] = Field(min_length=1, max_length=500)


class ApprovalStanding(Answer):
    """How an approval stands, and nothing of what it is about."""

    id: str
    state: ApprovalState


class WatchStarted(Answer):
    """A stream of ends has begun: everything that ends after `sequence` follows. `complete` false: not all is kept any
    more that ended since the number asked for, so ask for the states."""

    sequence: int
    complete: bool


class ApprovalEnded(ApprovalStanding):
    """An approval has ended. `sequence` is where to go on from."""

    sequence: int


class Decision(Request):
    approve: bool
    comment: str | None = Field(default=None, max_length=4000)
