"""Sessions, their records and what verifying them found."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from taskgate.client.models.base import Answer
from taskgate.client.models.principals import Principal


class Session(Answer):
    """One connection through the gateway, as the index knows it. `state` is `open`, `closed`, or `lost` where the
    process that held it is gone without having said so. `effects` are pairs such as `sql.select public.orders`."""

    id: str
    principal: Principal
    target: str
    protocol: str
    process_id: str | None = None
    credential_id: str | None = None
    client_address: str | None = None
    policy_version: str | None = None
    state: str
    opened_at: datetime
    closed_at: datetime | None = None
    closed_reason: str | None = None
    actions: int = 0
    refused: int = 0
    rows: int = 0
    masked: int = 0
    effects: list[str] = Field(default_factory=list)


class LiveSession(Answer):
    """A session that this gateway process holds open right now."""

    id: str
    principal: Principal
    target: str
    protocol: str
    client_address: str | None = None
    opened_at: datetime
    actions: int = 0
    parked: bool = False


class Record(Answer):
    """One event of a session. `content` is None where it was erased; its fields are those of the class for its `kind`
    in `taskgate.recording.records`. `hash` is the record's link in the session's chain."""

    sequence: int
    kind: str
    at: datetime
    content: dict[str, Any] | None = None
    hash: str | None = None
    policy_version: str | None = None


class VerificationProblem(Answer):
    session_id: str | None = None
    sequence: int | None = None
    message: str


class Verification(Answer):
    """What checking a session's recording found. `ok` is true only when nothing is wrong; `sealed` when the session's
    end is covered by a signed checkpoint."""

    session_id: str
    ok: bool
    sealed: bool
    records: int
    head: str | None = None
    checkpoint: int | None = None
    problems: list[VerificationProblem] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
