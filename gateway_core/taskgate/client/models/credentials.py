"""Targets, and the credentials issued for them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from taskgate.client.models.base import Answer, AttributeValue, Name, OnceShown, Request
from taskgate.client.models.principals import Principal


class Endpoint(Answer):
    """Where clients connect."""

    host: str
    port: int


class Target(Answer):
    """A named thing behind the gateway. Says neither its credential nor where that comes from."""

    name: str
    protocol: str
    database: str
    host: str
    port: int
    labels: dict[str, str] = Field(default_factory=dict)
    max_sessions: int
    digest: str
    gateway: Endpoint | None = None


class TaskClaim(Request):
    """The task attempt a service key asks a credential for. `attempt_id` is the orchestrator's own id of this try
    (Airflow: the task instance's uuid). `attributes` may hold what docs/api.md lists, nothing else."""

    kind: Literal["task"] = "task"
    source: Name
    dag_id: Name
    run_id: Name
    task_id: Name
    map_index: int = Field(default=-1, ge=-1)
    try_number: int = Field(default=1, ge=1)
    attempt_id: Name
    attributes: dict[Name, AttributeValue] = Field(default_factory=dict, max_length=32)


class CredentialRequest(Request):
    """Ask for a credential. Without `principal` it is for the holder of the key itself. `ttl` in seconds; without it,
    and never beyond it, what the gateway's settings say."""

    target: Name
    ttl: float | None = Field(default=None, gt=0, le=30 * 86400, allow_inf_nan=False)
    principal: TaskClaim | None = None


class Credential(Answer):
    """What is known of a credential; never its secret."""

    id: str
    principal: Principal
    target: str
    issued_at: datetime
    expires_at: datetime
    issued_by: str
    revoked_at: datetime | None = None


class IssuedCredential(Answer):
    """A new credential, with its secret for the only time. `str()` and `repr()` hide the secret: use
    `password.get_secret_value()` and `dsn.get_secret_value()`."""

    id: str
    user: str
    password: OnceShown
    target: str
    protocol: str
    host: str
    port: int
    database: str
    dsn: OnceShown
    principal: Principal
    issued_at: datetime
    expires_at: datetime


class Revoked(Answer):
    """How many credentials were live and are no longer."""

    revoked: int
