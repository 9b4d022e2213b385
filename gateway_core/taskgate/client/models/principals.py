"""Who acts, who asks, and the keys of those who ask."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from taskgate.client.models.base import Answer, AttributeValue, Name, OnceShown, Request
from taskgate.domain import Assurance, PrincipalKind


class TaskKey(Answer):
    source: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


class Attempt(Answer):
    id: str
    task: TaskKey
    try_number: int = 1
    logical_date: str | None = None
    run_name: str | None = None

    @property
    def run_label(self) -> str:
        """The run as people and machines know it: `wakeful-crow (5c1e…)`, or its id alone."""
        return f"{self.run_name} ({self.task.run_id})" if self.run_name else self.task.run_id


class Principal(Answer):
    """Who acts. `assurance` says how well the gateway knows it, `verified_by` through what."""

    kind: PrincipalKind
    name: str
    source: str
    assurance: Assurance
    verified_by: str
    attributes: dict[str, AttributeValue] = Field(default_factory=dict)
    attempt: Attempt | None = None

    @property
    def label(self) -> str:
        """The name, and of a mapped task which one it is: `etl.clean[3]`."""
        mapped = self.attempt.task.map_index if self.attempt else -1
        return f"{self.name}[{mapped}]" if mapped >= 0 else self.name


class WhoAmI(Answer):
    """The key that asks, and what it may do."""

    id: str
    kind: Literal["user", "service"]
    name: str
    groups: list[str]
    scopes: list[str]
    expires_at: datetime | None = None


class ApiKeyRequest(Request):
    """A new key. `aliases` are other names of the same person (an Airflow user name, an e-mail address): none of them
    may approve what another asked for. `expires_in` in seconds; without it the key lives until it is revoked."""

    kind: Literal["user", "service"]
    name: Name
    scopes: list[Name] = Field(max_length=64)
    groups: list[Name] = Field(default_factory=list, max_length=256)
    aliases: list[Name] = Field(default_factory=list, max_length=64)
    expires_in: float | None = Field(default=None, gt=0, le=10 * 365 * 86400, allow_inf_nan=False)


class ApiKey(Answer):
    id: str
    kind: Literal["user", "service"]
    name: str
    scopes: list[str]
    groups: list[str]
    aliases: list[str] = Field(default_factory=list)
    created_at: datetime
    created_by: str | None = None
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class CreatedApiKey(Answer):
    """A new key, with its secret for the only time (`secret.get_secret_value()`)."""

    key: ApiKey
    secret: OnceShown
