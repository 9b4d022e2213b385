"""Targets, and the credentials issued for them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

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


class AirflowTaskInstance(Request):
    """Where an Airflow keeps a task instance. Nothing in it is believed: the gateway looks it up there."""

    source: Name
    dag_id: Name
    run_id: Name
    task_id: Name
    map_index: int = Field(default=-1, ge=-1)


class AirflowTaskToken(AirflowTaskInstance):
    """A running task instance, proven by the token that Airflow itself gave it (a JWT whose `sub` is the instance)."""

    kind: Literal["airflow_task"] = "airflow_task"
    token: Annotated[OnceShown, Field(max_length=8192)]


class AirflowDeferredTask(AirflowTaskInstance):
    """A deferred task instance for which a triggerer asks: it gets what the instance's worker already held, nothing
    else. `attempt_id` is the instance's uuid."""

    kind: Literal["airflow_deferred_task"] = "airflow_deferred_task"
    attempt_id: Name


class PrefectRun(Request):
    """A running task run of a Prefect, or without `task_run_id` the flow run itself, that a service key vouches for.
    The gateway looks both up with Prefect's API. `run_count`: which try of the task run (of the flow run) this is."""

    kind: Literal["prefect_run"] = "prefect_run"
    source: Name
    flow_run_id: Name
    task_run_id: Name | None = None
    run_count: int = Field(default=1, ge=0, le=2**31 - 1)


AskedFor = TaskClaim | PrefectRun | AirflowTaskToken | AirflowDeferredTask
"""For whom a service asks: a task it vouches for, one that proves itself, or one that waits in a triggerer."""


class _ForTarget(Request):
    target: Name
    ttl: float | None = Field(default=None, gt=0, le=30 * 86400, allow_inf_nan=False)


class CredentialRequest(_ForTarget):
    """Ask for a credential. Without `principal` it is for the holder of the key itself. `ttl` in seconds; without it,
    and never beyond it, what the gateway's settings say."""

    principal: TaskClaim | PrefectRun | None = None


class TokenExchange(_ForTarget):
    """Ask for a credential for the task that a token proves."""

    principal: AirflowTaskToken


class Delegation(_ForTarget):
    """Ask for a credential for a task that waits in a triggerer."""

    principal: AirflowDeferredTask


class Credential(Answer):
    """What is known of a credential; never its secret. `confined_until`: the attempt is over, and what it held may read
    until then."""

    id: str
    principal: Principal
    target: str
    issued_at: datetime
    expires_at: datetime
    issued_by: str
    revoked_at: datetime | None = None
    confined_until: datetime | None = None


class _Once(Answer):
    """What holds a secret that is shown once: nothing keeps it, so no result or cache of an orchestrator does."""

    def __reduce__(self) -> str:
        raise TypeError(f"{type(self).__name__} is not pickled: ask the gateway where it is needed")


class IssuedCredential(_Once):
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
    confined_until: datetime | None = None


class RunRegistration(Request):
    """A flow run that a worker is about to start. `job_variables`: the names of those that the run itself has set and
    that it is started with; what Prefect says of them may have been changed since the worker read it."""

    source: Name
    flow_run_id: Name
    job_variables: list[Name] = Field(default_factory=list, max_length=100)


class RegisteredRun(_Once):
    """The flow run's one-time secret, for its process' environment. It works until `expires_at`."""

    id: str
    secret: OnceShown
    expires_at: datetime


class RunToken(_Once):
    """What a flow run's process has in place of its one-time secret: it lasts as long as the run."""

    token: OnceShown
    source: str
    flow_run_id: str


class RunCredentialRequest(_ForTarget):
    """Ask for a credential for a task run of the flow run, or without `task_run_id` for the flow run itself.
    `flow_run_id`: a subflow of it. `run_count`: which try of the task run (of the flow run) this is."""

    flow_run_id: Name | None = None
    task_run_id: Name | None = None
    run_count: int = Field(default=1, ge=0, le=2**31 - 1)


class AttemptsPosted(Request):
    """Task instances of `source` that have just told Airflow how they ended: the gateway looks them up now."""

    source: Name
    attempts: list[Name] = Field(min_length=1, max_length=500)


class AttemptsChecked(Answer):
    """How many of them the gateway knows."""

    known: int


class Revoked(Answer):
    """How many credentials were live and are no longer."""

    revoked: int
