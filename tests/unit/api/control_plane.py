"""A control plane of the real services on a SQLite file, without the data path: what the API is tested against.

Only `Live` stands in: the real registry of connections lives in the gateway process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from taskgate.api.control_plane import Check, LiveSession
from taskgate.approvals.airflow_answers import AirflowAnswers
from taskgate.approvals.draft import ApprovalDraft
from taskgate.approvals.keys import ApprovalKeys
from taskgate.approvals.requests import Approvals
from taskgate.approvals.sealing import ParameterSeal
from taskgate.domain import (
    ApprovalTerms,
    Assurance,
    Attempt,
    Pair,
    Parameter,
    Principal,
    PrincipalKind,
    Target,
    TaskKey,
    TlsMode,
)
from taskgate.errors import TargetFault
from taskgate.identity.api_keys import ApiKeys
from taskgate.identity.credentials import Credentials
from taskgate.identity.orchestrators.orchestrators import Orchestrators
from taskgate.identity.registered_runs import RegisteredRuns
from taskgate.identity.scopes import Scope
from taskgate.metrics import Metrics
from taskgate.policy.holder import PolicyHolder
from taskgate.recording.header import SessionHeader
from taskgate.recording.recorder import Recorder
from taskgate.recording.recordings import Recordings
from taskgate.recording.records import RecordedAction, RecordKind, Result, SessionOpened
from taskgate.sql.catalog import Catalog, Column, Relation
from taskgate.store.attempts import Attempts
from taskgate.store.database import Database
from taskgate.store.processes import GatewayProcess
from taskgate.store.sessions import SessionCounts, SessionIndex
from taskgate.store.signals import Signals

CANARY = "canary-secret-reference"

TARGETS = {
    name: Target(
        name=name,
        protocol="postgres",
        host="db.internal",
        port=5432,
        database="orders",
        user="gateway_role",
        secret=f"env:{CANARY}",
        tls=TlsMode.VERIFY_FULL,
        labels={"tier": "gold"},
    )
    for name in ("orders-db", "billing-db", "warehouse")
}


POLICY = """\
version: 1
rules:
  - id: etl-reads
    match: {targets: [orders-db], principals: {kind: task, source: prod}, effects: [sql.select], objects: ["public.*"]}
    verdict: allow
  - id: no-ddl
    match: {targets: ["*-db"], effects: [sql.ddl]}
    verdict: deny
    reason: Schema changes go through migrations.
  - id: deletes-need-a-human
    match: {targets: [orders-db], principals: {kind: task}, effects: [sql.delete], objects: ["public.orders"]}
    verdict: approve
    approval: {from: ["group:dba"], max_rows: 500}
masks:
  - {id: mails, targets: [orders-db], columns: ["public.customers.email"], with: redact}
"""

CATALOG = Catalog(
    version=7,
    relations=(
        Relation(1, "public", "orders", (Column("id", 1, "pg_catalog.int4"), Column("note", 2))),
        Relation(2, "public", "customers", (Column("id", 1, "pg_catalog.int4"), Column("email", 2))),
    ),
)

TERMS = ApprovalTerms(approvers=("group:dba",), expires=600)


def task(attempt: str = "ti-1", **attributes: str) -> Principal:
    key = TaskKey("prod", "etl", "run-1", "clean")
    return Principal(
        PrincipalKind.TASK, "etl.clean", "prod", Assurance.VERIFIED, "airflow", attributes, Attempt(attempt, key)
    )


def draft(digest: str = "d" * 64, principal: Principal | None = None, **changes: Any) -> ApprovalDraft:
    """What a session would ask."""
    made = ApprovalDraft(
        digest=digest,
        principal=principal or task(),
        target="orders-db",
        session_id="ses_1",
        text="DELETE FROM public.orders WHERE note = $1",
        parameters=(
            Parameter(25, 0, b"canary-parameter"),
            Parameter(23, 1, bytes([0, 0, 0, 7])),
            Parameter(25, 0, None),
        ),
        pairs=("sql.delete public.orders",),
        rules=("deletes-need-a-human",),
        terms=TERMS,
        policy_version="p1",
        estimate={"rows": 12},
    )
    return replace(made, **changes)


class Live:
    """Stands in for the gateway's registry of connections: lists what a test put in, remembers what was killed."""

    def __init__(self) -> None:
        self.open: list[LiveSession] = []
        self.killed: list[tuple[str, str, str]] = []

    def list(self) -> Sequence[LiveSession]:
        return self.open

    async def kill(self, session_id: str, by: str, reason: str) -> None:
        self.killed.append((session_id, by, reason))


@dataclass
class Plane:
    """Implements `ControlPlane`."""

    database: Database
    signals: Signals
    credentials: Credentials
    api_keys: ApiKeys
    sessions: SessionIndex
    process: GatewayProcess
    approvals: Approvals
    orchestrators: Orchestrators
    policy: PolicyHolder
    data_dir: Path
    live: Live = field(default_factory=Live)
    answers: dict[str, AirflowAnswers] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=Metrics)
    targets: Mapping[str, Target] = field(default_factory=lambda: dict(TARGETS))
    endpoints: Mapping[str, tuple[str, int]] = field(default_factory=lambda: {"postgres": ("gateway.example", 6432)})
    public_url: str = "https://gateway.example"
    default_ttl: float = 900.0
    attempt_ttl: float = 3600.0
    checks: dict[str, Check] = field(default_factory=lambda: {"store": Check(True), "journal": Check(True)})

    @classmethod
    async def create(cls, directory: Path) -> Plane:
        """In `directory`, where a migrated `store.sqlite` lies."""
        database = Database(f"sqlite:///{directory / 'store.sqlite'}")
        signals = Signals(database)
        process = GatewayProcess(database, version="0")
        await process.register()
        api_keys = ApiKeys(database, signals)
        policy_file = directory / "policy.yaml"
        policy_file.write_text(POLICY)
        approvals = Approvals(database, signals, api_keys, ParameterSeal(ApprovalKeys.derive(bytes(32)).sealing))
        credentials = Credentials(database, signals, max_ttl=86400.0)
        return cls(
            approvals=approvals,
            orchestrators=Orchestrators(Attempts(database), credentials, approvals, RegisteredRuns(database)),
            policy=PolicyHolder([policy_file]),
            data_dir=directory / "data",
            database=database,
            signals=signals,
            credentials=credentials,
            api_keys=api_keys,
            sessions=SessionIndex(database, process.id),
            process=process,
        )

    def catalog(self, target: str) -> Catalog:
        if target != "orders-db":
            raise TargetFault(f"the catalogue of target {target} cannot be read")
        return CATALOG

    def airflow_answers(self, source: str) -> AirflowAnswers | None:
        return self.answers.get(source)

    def approval_url(self, approval_id: str) -> str:
        return f"https://people.example/approvals?id={approval_id}"

    @property
    def recordings(self) -> Recordings:
        return Recordings(self.data_dir)

    async def recorded(self, session_id: str, statements: Sequence[str]) -> None:
        """Index and record a whole session, as the gateway does."""
        principal = task()
        await self.sessions.opened(
            session_id, principal, "orders-db", protocol="postgres", client_address="10.0.0.9", policy_version="p1"
        )
        recorder = Recorder(self.data_dir, process_id=self.process.id)
        await recorder.start()
        recorder.policy_text("p1", {"policy.yaml": POLICY})
        recording = recorder.open(SessionHeader(session_id, "p1", "t" * 64))
        opened = SessionOpened.of(
            principal, target="orders-db", protocol="postgres", client_address="10.0.0.9", credential_id="tg_1"
        )
        recording.append(RecordKind.SESSION_OPENED, opened)
        for text in statements:
            action = RecordedAction(
                protocol="postgres", text=text, pairs=("sql.select public.orders",), verdict="allow"
            )
            sequence = recording.append(RecordKind.ACTION, action)
            recording.append(RecordKind.RESULT, Result(action=sequence, tag="SELECT", rows=1))
        recorder.write()
        await recorder.stop("the client left")
        counts = SessionCounts(len(statements), 0, len(statements), 0)
        self.sessions.closed(session_id, "the client left", counts, [Pair("sql.select", "public.orders")])
        await self.sessions.settle()

    async def readiness(self) -> Mapping[str, Check]:
        return self.checks

    async def key(
        self, name: str, *scopes: Scope, user: bool = False, groups: Sequence[str] = (), aliases: Sequence[str] = ()
    ) -> str:
        """A new API key's secret."""
        kind = PrincipalKind.USER if user else PrincipalKind.SERVICE
        _, secret = await self.api_keys.create(kind, name, scopes, groups, created_by="test", aliases=aliases)
        return secret
