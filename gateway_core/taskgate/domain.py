"""The words of Taskgate as values (docs/concepts.md explains them to people).

Everything here is immutable and knows no I/O, no framework and nothing else of ours.
Times are timezone-aware UTC; durations are seconds; sizes are bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

AttributeValue = str | int | bool | tuple[str, ...]


# --- who ---------------------------------------------------------------------------------------------------------


class PrincipalKind(StrEnum):
    TASK = "task"
    USER = "user"
    SERVICE = "service"


class Assurance(StrEnum):
    """How well the gateway knows that a principal is who it says it is."""

    VERIFIED = "verified"  # proven to the gateway itself
    DELEGATED = "delegated"  # proven to somebody the gateway trusts to say so
    ASSERTED = "asserted"  # claimed by the holder of a service key


@dataclass(frozen=True, slots=True)
class TaskKey:
    """A task of a run, the same across its tries. In Prefect's words: the flow's name, the flow run's id, the task's
    name; `task_id` is empty for what the flow does outside any task."""

    source: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    def __str__(self) -> str:
        mapped = f"[{self.map_index}]" if self.map_index >= 0 else ""
        task = f"/{self.task_id}" if self.task_id else ""
        return f"{self.source}/{self.dag_id}/{self.run_id}{task}{mapped}"

    @property
    def name(self) -> str:
        """What its principal is called: `dag_id.task_id`, or the flow's name alone."""
        return f"{self.dag_id}.{self.task_id}" if self.task_id else self.dag_id


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of one task. `id` is the orchestrator's own (Airflow: the task instance's uuid, new for every try;
    Prefect: see `prefect/runs.py: AttemptId`). `logical_date` (ISO 8601) stands for the data that the run is about;
    a run by hand may have none. `run_name` is what people call the run, where that is not its id. `of_run`: only the
    run is proven, not which of its tasks this is."""

    id: str
    task: TaskKey
    try_number: int = 1
    logical_date: str = ""
    run_name: str = ""
    of_run: bool = False

    @property
    def owner(self) -> TaskKey:
        """What owns its approval requests and grants: as much of the task's key as is proven."""
        return TaskKey(self.task.source, self.task.dag_id, self.task.run_id, "") if self.of_run else self.task

    @property
    def owner_key(self) -> str:
        return f"task:{self.owner}"


_FACTS_OF_RUNS = ("deployment", "work_pool", "job_variables", "run_type", "triggering_user")


@dataclass(frozen=True)
class Principal:
    """Who acts. `name` is unique within (kind, source); for a task it is its key's."""

    kind: PrincipalKind
    name: str
    source: str
    assurance: Assurance
    verified_by: str
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    attempt: Attempt | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.source}:{self.name}"

    @property
    def task(self) -> TaskKey | None:
        return self.attempt.task if self.attempt else None

    @property
    def owner_key(self) -> str:
        """What owns approval requests and grants: the key of a task (or of its run), the name of anybody else."""
        return self.attempt.owner_key if self.attempt else str(self)

    @property
    def owner_facts(self) -> Mapping[str, AttributeValue]:
        """What a grant to a run's owner is bound to besides: the key is the run's, and who asks in its name may be less
        well known than who did, or of a run that was bent since."""
        if self.attempt is None or not self.attempt.of_run:
            return {}
        facts = {name: self.attributes[name] for name in _FACTS_OF_RUNS if name in self.attributes}
        return {"assurance": self.assurance.value, **facts}

    @property
    def groups(self) -> tuple[str, ...]:
        value = self.attributes.get("groups", ())
        return value if isinstance(value, tuple) else ()

    @cached_property
    def attribute_key(self) -> str:
        """Equal for principals that policy cannot tell apart: the principal's part of a cached decision's key."""
        facts = [self.kind, self.name, self.source, self.assurance, self.verified_by, sorted(self.attributes.items())]
        if self.attempt is not None:  # a name alone does not say where the DAG's id ends and the task's begins
            facts.append([self.attempt.task.dag_id, self.attempt.task.task_id])
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


# --- what is behind the gateway ----------------------------------------------------------------------------------


class TlsMode(StrEnum):
    DISABLE = "disable"  # settings accept it for loopback addresses only
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


@dataclass(frozen=True, slots=True)
class Target:
    """A named thing behind the gateway. `secret` and `catalog_secret` say where a credential comes from
    (`env:NAME`, `file:/path`, …), never the credential itself."""

    name: str
    protocol: str
    host: str
    port: int
    database: str
    user: str
    secret: str
    tls: TlsMode = TlsMode.VERIFY_FULL
    ca_file: str | None = None
    catalog_user: str | None = None
    catalog_secret: str | None = None
    max_sessions: int = 100
    labels: Mapping[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        """SHA-256 (hex) of the whole configuration: what an approval and a record header are bound to."""
        facts = {name: getattr(self, name) for name in self.__slots__}
        facts["labels"] = dict(self.labels)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


# --- what is done ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """An effect on an object. `object` is schema-qualified (`public.orders`), a setting's name for `sql.set`, a
    function's for `sql.call`, a channel for `sql.listen`, empty where the effect has none. An object that the
    catalogue could not resolve keeps the name as written, `resolved=False`, and is covered by no allow rule."""

    effect: str
    object: str = ""
    resolved: bool = True

    def __str__(self) -> str:
        return f"{self.effect} {self.object}{'' if self.resolved else ' (unresolved)'}".rstrip()


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """One column of a statement's result. `sources` are the columns (`schema.table.column`, base columns under a view
    included) whose value may reach it. `bare` is true when it is such a column itself or a listed safe function of
    it, so that masking the cell hides the value; otherwise the sources also stand in `columns_outside_output`."""

    name: str
    sources: frozenset[str] = frozenset()
    bare: bool = True


class Missing(NamedTuple):
    """A name in a text that nothing in the catalogue has. `kind`: relation, column, function, or table: the qualifier
    of a column that nothing in FROM has."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What one statement (or call) does, as far as its text and the catalogue tell. Nothing here depends on who asks.

    `complete=False` means that it may do more than `pairs` say (an unlisted function, a construct not understood);
    `notes` say why, for people. `outputs` is None where the result's columns are unknown although rows may come back:
    then everything that comes back counts as tainted by `columns_read`.
    """

    pairs: tuple[Pair, ...]
    complete: bool = True
    notes: tuple[str, ...] = ()
    tag: str = ""  # SELECT, DELETE, SET, …: for people, metrics and the order of results
    returns_rows: bool = False
    outputs: tuple[OutputColumn, ...] | None = ()
    columns_read: frozenset[str] = frozenset()
    columns_outside_output: frozenset[str] = frozenset()  # WHERE, JOIN, GROUP BY, ORDER BY, DISTINCT, expressions, …
    columns_flowing: frozenset[str] = frozenset()  # values written into a relation (INSERT … SELECT, UPDATE SET, …)
    functions: frozenset[str] = frozenset()
    has_where: bool = False
    changes: bool = False  # may change something durable: its record is on disk before it is forwarded
    literal_sensitive: bool = True  # facts may differ for the same text with other number literals
    missing: tuple[Missing, ...] = ()  # in the order they were come upon; what a refusal is really about
    session_objects: bool = False  # names depend on the session's own objects (temporary tables, DDL): never cached


class Parameter(NamedTuple):
    """A bound parameter as it stands on the wire. `format`: 0 text, 1 binary. `value` None is NULL."""

    type_oid: int
    format: int
    value: bytes | None


class TransactionState(StrEnum):
    IDLE = "idle"  # no transaction is open
    BEGUN = "begun"  # a bare BEGIN and nothing since: no locks are held
    ACTIVE = "active"  # statements have run: locks may be held
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Environment:
    """What besides the text decides what a statement does on the target: part of an approval's digest.

    `settings` holds only what was moved away from its value at session start."""

    role: str = ""
    search_path: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    catalog_version: int = 0


@dataclass(frozen=True, slots=True)
class Action:
    """One judged thing. `facts` has one entry a statement. `parameters` is None while none are bound yet (the judgement
    of a Parse); an approval is asked for only when `executes` is true, over text, parameters and environment."""

    protocol: str
    text: str
    facts: tuple[Facts, ...]
    environment: Environment = Environment()
    parameters: tuple[Parameter, ...] | None = ()
    parameter_types: tuple[int, ...] = ()
    executes: bool = True
    streams: bool = False  # takes a data stream that the digest cannot cover (COPY FROM STDIN)
    transaction: TransactionState = TransactionState.IDLE
    shape: str = ""  # texts of equal shape differ in number literals that the facts do not depend on; "" where unknown

    @property
    def pairs(self) -> tuple[Pair, ...]:
        if len(self.facts) == 1:
            return self.facts[0].pairs
        return tuple(pair for facts in self.facts for pair in facts.pairs)

    @property
    def missing(self) -> Missing | None:
        """The first name in it that nothing has."""
        return next((facts.missing[0] for facts in self.facts if facts.missing), None)

    @property
    def complete(self) -> bool:
        return all(facts.complete for facts in self.facts)

    @property
    def changes(self) -> bool:
        return any(facts.changes for facts in self.facts)


# --- what is decided ---------------------------------------------------------------------------------------------


class Verdict(StrEnum):
    ALLOW = "allow"
    DENY = "deny"
    APPROVE = "approve"


class RecordingLevel(StrEnum):
    METADATA = "metadata"  # who, when, effects, verdict, counts; no text
    STATEMENTS = "statements"  # + exact text and parameters
    RESULTS = "results"  # + rows as the client got them


APPROVAL_CHANNELS = ("airflow",)
"""Places besides the gateway's own where an approval may be decided, if the rule says so."""


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """What an approve rule demands. `approvers` are entries such as `group:dba` or `user:alice`; any one may decide.
    `hold`, `expires` in seconds; `uses` how often the grant may be used; `max_rows` the row bound enforced at run;
    `channels` are those of APPROVAL_CHANNELS where it may be decided too."""

    approvers: tuple[str, ...]
    hold: float = 600.0
    hold_in_transaction: float = 60.0
    expires: float = 4 * 3600.0
    uses: int = 1
    max_rows: int | None = None
    streams: bool = False
    allow_requester: bool = False  # four eyes switched off by policy, explicitly
    channels: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """How an action ended. `error` is the target's SQLSTATE (or protocol's equal) and already scrubbed text."""

    tag: str = ""
    rows: int = 0
    bytes_to_client: int = 0
    masked: Mapping[str, int] = MappingProxyType({})  # masked cells by mask rule or detector
    error: str | None = None


# --- masks -------------------------------------------------------------------------------------------------------


class MaskKind(StrEnum):
    NONE = "none"  # an exemption
    PARTIAL = "partial"
    HASH = "hash"  # keyed HMAC, so that equal values stay equal
    REDACT = "redact"
    NULL = "null"  # the strictest

    @property
    def strictness(self) -> int:
        return list(MaskKind).index(self)


@dataclass(frozen=True, slots=True)
class MaskRule:
    """One mask as it applies: `id` names it in records and counts (`masks[0]`, or a detector's name).

    `predicates`: a masked column may also be used in WHERE and the like; `flows`: its values may be written into
    another relation."""

    id: str
    kind: MaskKind
    predicates: bool = False
    flows: bool = False


# --- approvals ---------------------------------------------------------------------------------------------------


class ApprovalState(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Approval:
    """A request for a human decision about one action, identified by `digest`; once approved, also the grant."""

    id: str
    digest: str
    state: ApprovalState
    owner_key: str
    principal: Principal
    target: str
    session_id: str
    text: str
    pairs: tuple[str, ...]
    rules: tuple[str, ...]
    terms: ApprovalTerms
    policy_version: str
    requested_at: datetime
    expires_at: datetime
    environment: Environment = Environment()
    estimate: Mapping[str, object] | None = None  # the planner's, or why there is none
    decided_by: str | None = None
    decided_at: datetime | None = None
    comment: str | None = None
    uses_left: int = 0
    held: bool = False  # a connection is waiting for it
    waits_until: datetime | None = None  # at the latest, by the store's clock; None: no connection waits


# --- credentials -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Credential:
    """A short-lived secret issued for (principal, target). Only verifiers are stored; `id` starts with `tg_` and is the
    user name a client presents. `scram` is a PostgreSQL-style SCRAM-SHA-256 verifier string. `confined_until`: the
    attempt it was issued to is over; its callbacks may read until then, and nothing else."""

    id: str
    principal: Principal
    target: str
    issued_at: datetime
    expires_at: datetime
    issued_by: str
    scram: str
    revoked_at: datetime | None = None
    confined_until: datetime | None = None

    @property
    def ends_at(self) -> datetime:
        return min(self.expires_at, self.confined_until or self.expires_at)
