"""The roles and grants of docs/getting-started.md are enough, over verified TLS, and what they leave out is refused."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from taskgate.cli.probing import probe
from taskgate.cli.root import app
from taskgate.client import Client
from taskgate.demo.local_gateway import LocalGateway
from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope
from taskgate.settings import Settings
from tests.servers.certificates import TlsFront, certificate

PAGE = Path(__file__).parents[3] / "docs" / "getting-started.md"
ROLES = ("taskgate_app", "taskgate_catalog")
DATABASE = "shop"

# A database that is open to nobody, not even as PostgreSQL leaves it.
SHOP = """
revoke all on database shop from public;
revoke all on schema public from public;
create table public.customers (id int primary key, email text);
create table public.orders (id int primary key, customer_id int references public.customers);
create table public.salaries (id int);
insert into public.customers values (1, 'ada@example.org');
insert into public.orders select n, 1 from generate_series(1, 100) n;
analyze;
"""
POLICY = """\
version: 1
rules:
  - {id: reads, match: {targets: [orders-db], effects: [sql.select, sql.insert], objects: ["public.*"]}, verdict: allow}
  - id: deletes-ask
    match: {targets: [orders-db], effects: [sql.delete], objects: ["public.*"]}
    verdict: approve
    approval: {from: ["group:dba"]}
masks:
  - {targets: [orders-db], columns: ["*.email"], with: redact}
"""


def page_sql() -> str:
    found = re.search(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def admin(postgres: PostgresServer) -> Iterator[psycopg.Connection]:
    """The superuser in the prepared database; nothing of it is left behind."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as outside:
        outside.execute(f"create database {DATABASE}")
        try:
            with psycopg.connect(postgres.dsn(DATABASE), autocommit=True) as connection:
                connection.execute(SHOP)
                yield connection
        finally:
            outside.execute(f"drop database {DATABASE} with (force)")
            for role in ROLES:
                outside.execute(f"drop role if exists {role}")


@pytest.fixture
def gateway(postgres: PostgresServer, admin: psycopg.Connection, tmp_path: Path) -> Iterator[LocalGateway]:
    admin.execute(page_sql())
    passwords = {role: secrets.token_urlsafe(12) for role in ROLES}
    for role, password in passwords.items():
        admin.execute(f"alter role {role} password '{password}'")
    certificate_file, key_file = certificate(tmp_path)
    with TlsFront(postgres.port, certificate_file, key_file) as front:
        target: dict[str, Any] = {
            "name": "orders-db", "host": "localhost", "port": front.port, "database": DATABASE, "user": ROLES[0],
            "catalog_user": ROLES[1], "ca_file": str(certificate_file),
        }  # fmt: skip
        with LocalGateway(
            tmp_path / "gateway",
            targets=[target],
            secrets={"orders-db": passwords[ROLES[0]]},
            catalog_secrets={"orders-db": passwords[ROLES[1]]},
            policy=POLICY,
        ) as running:
            yield running


def test_the_pages_grants_are_enough_and_no_more(gateway: LocalGateway, admin: psycopg.Connection) -> None:
    powers = "rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls"
    roles = admin.execute(f"select rolname from pg_roles where rolname like 'taskgate%' and not ({powers})").fetchall()
    assert sorted(roles) == [(role,) for role in ROLES]
    tested = CliRunner().invoke(app, ["target", "test", "--config", str(gateway.config)])
    assert tested.exit_code == 0, tested.output
    stranger = replace(Settings.load(gateway.config).targets[0].target(), ca_file=None)
    assert "certificate is not trusted" in str(asyncio.run(probe(stranger)).problem)
    scopes = [Scope.CREDENTIALS_ISSUE, Scope.APPROVALS_READ]
    with Client(gateway.url, gateway.api_key(PrincipalKind.USER, "ann", scopes)) as ann:
        dsn = ann.issue_credential("orders-db").dsn.get_secret_value()
        with psycopg.connect(dsn, autocommit=True, options="-c taskgate.wait=refuse") as connection:
            assert connection.execute("select email from customers").fetchone() == ("[redacted]",)
            connection.execute("insert into orders values (101, 1)")
            for text in ("select id from salaries", "insert into salaries values (1)"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="^permission denied for table"):
                    connection.execute(text)
            assert estimate(ann, connection, "delete from orders where id = 1")["rows"] == 1


def estimate(ann: Client, connection: psycopg.Connection, text: str) -> dict[str, Any]:
    """What the approver of `text` is told to expect."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        connection.execute(text.encode())
    found = re.search(r"^approval=(\S+)$", str(refused.value.diag.message_detail), re.MULTILINE)
    assert found
    told = ann.approval(found[1]).estimate
    assert told is not None
    return told
