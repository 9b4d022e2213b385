"""A control plane of the real services on a SQLite file, without the data path: what the API is tested against.

Only `Live` stands in: the real registry lives in the gateway process with its connections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from taskgate.api.control_plane import Check, LiveSession
from taskgate.domain import PrincipalKind, Target, TlsMode
from taskgate.identity.api_keys import ApiKeys
from taskgate.identity.credentials import Credentials
from taskgate.identity.scopes import Scope
from taskgate.metrics import Metrics
from taskgate.store.database import Database
from taskgate.store.processes import GatewayProcess
from taskgate.store.sessions import SessionIndex
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
    live: Live = field(default_factory=Live)
    metrics: Metrics = field(default_factory=Metrics)
    targets: Mapping[str, Target] = field(default_factory=lambda: dict(TARGETS))
    endpoints: Mapping[str, tuple[str, int]] = field(default_factory=lambda: {"postgres": ("gateway.example", 6432)})
    public_url: str = "https://gateway.example"
    people_url: str = "https://people.example"
    default_ttl: float = 900.0
    checks: dict[str, Check] = field(default_factory=lambda: {"store": Check(True), "journal": Check(True)})

    @classmethod
    async def create(cls, directory: Path) -> Plane:
        database = Database(f"sqlite:///{directory / 'store.sqlite'}")
        await database.migrate()
        signals = Signals(database)
        process = GatewayProcess(database, version="0")
        await process.register()
        return cls(
            database=database,
            signals=signals,
            credentials=Credentials(database, signals, max_ttl=86400.0),
            api_keys=ApiKeys(database, signals),
            sessions=SessionIndex(database, process.id),
            process=process,
        )

    async def readiness(self) -> Mapping[str, Check]:
        return self.checks

    async def key(
        self, name: str, *scopes: Scope, user: bool = False, groups: Sequence[str] = (), aliases: Sequence[str] = ()
    ) -> str:
        """A new API key's secret."""
        kind = PrincipalKind.USER if user else PrincipalKind.SERVICE
        _, secret = await self.api_keys.create(kind, name, scopes, groups, created_by="test", aliases=aliases)
        return secret
