"""The demo's database behind a real gateway with the example's policy: what the end-to-end tests run against."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from taskgate.client import Approval, Client, TaskgateApiError
from taskgate.demo.data import APP_ROLE, CATALOG_ROLE, DATABASE, fill
from taskgate.demo.local_gateway import LocalGateway
from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope

EXAMPLE = Path(__file__).parents[2] / "examples" / "airflow"
APP_PASSWORD = "stored-application-password-7Qd"
CATALOG_PASSWORD = "stored-catalogue-password-3Kp"


@dataclass
class Shop:
    """A running gateway before a filled database. `service_key` is Airflow's, `dana` the approver's."""

    gateway: LocalGateway
    server: PostgresServer
    service_key: str
    dana: str
    decided: list[Approval] = field(default_factory=list)

    @property
    def direct_uri(self) -> str:
        """Past the gateway, with the stored password."""
        return self.uri(DATABASE)

    def uri(self, database: str) -> str:
        return f"postgres://{APP_ROLE}:{APP_PASSWORD}@127.0.0.1:{urlsplit(self.server.dsn()).port}/{database}"

    def client(self) -> Client:
        return Client(self.gateway.url, self.dana)

    def query(self, sql: str, database: str = DATABASE) -> list[Any]:
        """Straight from the database, as its administrator."""
        with psycopg.connect(self.server.dsn(database), autocommit=True) as connection:
            return connection.execute(sql).fetchall()  # type: ignore[arg-type]

    @contextmanager
    def approver(self, decide: Callable[[Approval], bool]) -> Iterator[None]:
        """Dana decides whatever comes up; `decided` keeps it as she saw it."""
        over = threading.Event()

        def run() -> None:
            with self.client() as client:
                while not over.wait(0.2):
                    try:
                        for approval in client.approvals(state=["pending"]):
                            approve = decide(approval)
                            (client.approve if approve else client.deny)(approval.id, "by the test")
                            self.decided.append(approval)
                    except TaskgateApiError:
                        continue

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(15)


@contextmanager
def shop(
    directory: Path,
    server: PostgresServer,
    *,
    policy: str | None = None,
    more_databases: Mapping[str, str] | None = None,
    beside: AbstractContextManager[None] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Shop]:
    """The database is dropped afterwards: the server is the session's. `policy` in place of the example's;
    `more_databases`: target → a database of the same server and roles, made by `beside` once the shop's is filled;
    `settings` are more of the gateway's."""
    asyncio.run(fill(server, APP_PASSWORD, CATALOG_PASSWORD))
    catalog_secret = directory / "catalog.secret"
    catalog_secret.touch(mode=0o600)
    catalog_secret.write_text(CATALOG_PASSWORD)
    databases = {"orders-db": DATABASE, **(more_databases or {})}
    targets = [
        {
            "name": name,
            "host": "127.0.0.1",
            "port": urlsplit(server.dsn()).port,
            "database": database,
            "user": APP_ROLE,
            "catalog_user": CATALOG_ROLE,
            "catalog_secret": f"file:{catalog_secret}",
            "tls": "disable",
        }
        for name, database in databases.items()
    ]
    gateway = LocalGateway(
        directory / "gateway",
        targets=targets,
        secrets=dict.fromkeys(databases, APP_PASSWORD),
        policy=policy or (EXAMPLE / "policy.yaml").read_text(),
        settings=settings,
    )
    try:
        with beside or nullcontext(), gateway:
            service = gateway.api_key(
                PrincipalKind.SERVICE,
                "demo-airflow",
                [Scope.CREDENTIALS_ISSUE, Scope.CREDENTIALS_REVOKE, Scope.APPROVALS_WATCH],
            )
            reading = [Scope.APPROVALS_READ, Scope.SESSIONS_READ, Scope.RECORDS_READ, Scope.CREDENTIALS_READ]
            dana = gateway.api_key(PrincipalKind.USER, "dana", [*reading, Scope.APPROVALS_DECIDE], ["dba"])
            yield Shop(gateway, server, service, dana)
    finally:
        empty(server)


def empty(server: PostgresServer) -> None:
    """Take away what `fill` has made: the server is the session's, and others fill it too."""
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f"drop database if exists {DATABASE} with (force)")
        admin.execute(f"drop role if exists {APP_ROLE}")
        admin.execute(f"drop role if exists {CATALOG_ROLE}")
