"""From a statement's text to its masked rows, on real servers: policy, catalogue, analysis, plan, result.

The point is one sentence: whatever the statement, it is refused or the canary is not in what comes back."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import Assurance, Facts, Principal, PrincipalKind, Target, TlsMode
from taskgate.errors import PolicyRefusal
from taskgate.masking.plan import MaskedColumns, MaskPlan, plan
from taskgate.policy.load import load
from taskgate.protocols.postgres.fields import Field
from taskgate.protocols.postgres.rows import ResultMasker
from taskgate.sql.catalog import Catalog
from taskgate.sql.catalog_reader import CatalogReader
from taskgate.sql.postgres import analyze

SSN, EMAIL = "987-65-4321", "canary.bob@example.com"
PATH = ("masked",)

SETUP = f"""
DROP SCHEMA IF EXISTS masked CASCADE; CREATE SCHEMA masked; SET search_path TO masked;
CREATE TABLE customers (id int PRIMARY KEY, name text, email text, ssn text, born date) ;
INSERT INTO customers VALUES (1, 'Bob', '{EMAIL}', '{SSN}', '1980-01-01');
CREATE TABLE orders (id int, customer int, total numeric); INSERT INTO orders VALUES (1, 1, 10);
CREATE TABLE copies (ssn text);
CREATE VIEW shown AS SELECT id, ssn AS number, upper(email) AS address FROM customers;
CREATE VIEW twice AS SELECT number AS again FROM shown;
CREATE MATERIALIZED VIEW stored AS SELECT id, ssn FROM customers;
CREATE TABLE visits (at date, ssn text) PARTITION BY RANGE (at);
CREATE TABLE visits_2024 PARTITION OF visits FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
INSERT INTO visits VALUES ('2024-05-05', '{SSN}');
CREATE FUNCTION leak() RETURNS SETOF customers LANGUAGE sql STABLE AS 'SELECT * FROM masked.customers';
"""

POLICY = """
version: 1
masks:
  - {targets: [masked-db], columns: ["masked.customers.ssn", "masked.visits.ssn"], with: redact}
  - {targets: [masked-db], columns: ["masked.customers.email"], with: partial}
"""

# Everything a masked column may be asked for; none of it may show the value.
STATEMENTS = [
    "SELECT ssn FROM customers",
    "SELECT * FROM customers",
    "TABLE customers",
    "SELECT c.* FROM customers c",
    "SELECT customers FROM customers",
    "SELECT customers.*::text FROM customers",
    "SELECT c FROM customers c",
    "SELECT ROW(c.*) FROM customers c",
    "SELECT row_to_json(c) FROM customers c",
    "SELECT to_jsonb(c) FROM customers c",
    "SELECT json_agg(c) FROM customers c",
    "SELECT array_agg(ssn) FROM customers",
    "SELECT string_agg(ssn, ',') FROM customers",
    "SELECT max(ssn) FROM customers",
    "SELECT ssn::bytea FROM customers",
    "SELECT encode(ssn::bytea, 'hex') FROM customers",
    "SELECT substring(ssn, 1, 11) FROM customers",
    "SELECT left(ssn, 5), right(ssn, 6) FROM customers",
    "SELECT reverse(ssn) FROM customers",
    "SELECT ssn || '' FROM customers",
    "SELECT concat(ssn, '') FROM customers",
    "SELECT format('%s', ssn) FROM customers",
    "SELECT upper(email), lower(email) FROM customers",
    "SELECT a.d FROM customers AS a(a, b, c, d, e)",
    "SELECT x FROM (SELECT ssn AS x FROM customers) s",
    "WITH s AS (SELECT ssn AS x FROM customers) SELECT x FROM s",
    "WITH RECURSIVE s(x) AS (SELECT ssn FROM customers UNION SELECT x FROM s) SELECT x FROM s",
    "SELECT (SELECT ssn FROM customers LIMIT 1)",
    "SELECT unnest(ARRAY[ssn]) FROM customers",
    "SELECT u FROM customers, unnest(ARRAY[ssn]) u",
    "SELECT u FROM customers, LATERAL (SELECT ssn AS u) l",
    "SELECT CASE WHEN true THEN ssn END FROM customers",
    "SELECT coalesce(NULL, ssn) FROM customers",
    "SELECT nullif(ssn, '') FROM customers",
    "SELECT ssn FROM customers UNION ALL SELECT 'x'",
    "SELECT 'x' UNION SELECT ssn FROM customers",
    "SELECT DISTINCT ssn FROM customers",
    "SELECT first_value(ssn) OVER () FROM customers",
    "SELECT ssn FROM customers ORDER BY ssn",
    "SELECT id FROM customers WHERE ssn LIKE '9%'",
    "SELECT ssn, count(*) FROM customers GROUP BY ssn",
    "SELECT number FROM shown",
    "SELECT * FROM shown",
    "SELECT again FROM twice",
    "SELECT * FROM stored",
    "SELECT * FROM visits",
    "SELECT ssn FROM visits_2024",
    "SELECT * FROM ONLY visits_2024",
    "VALUES ((SELECT ssn FROM customers))",
    "UPDATE customers SET id = id RETURNING ssn",
    "UPDATE customers SET id = id RETURNING *",
    "UPDATE customers SET name = ssn RETURNING name",
    "DELETE FROM customers RETURNING customers",
    "INSERT INTO copies SELECT ssn FROM customers RETURNING ssn",
    "WITH d AS (DELETE FROM customers RETURNING *) SELECT ssn FROM d",
    "CREATE TABLE masked.stolen AS SELECT ssn FROM customers",
    "SELECT ssn INTO masked.stolen FROM customers",
    "EXPLAIN SELECT id FROM customers WHERE ssn = '987-65-4321'",
    'SELECT U&"\\0073sn" FROM customers',
    'SELECT "ssn" FROM masked."customers"',
    "SELECT id, email FROM customers",
    "SELECT email::varchar(40) FROM customers",
    "SELECT jsonb_build_object('a', ssn) FROM customers",
    "SELECT (jsonb_build_object('a', ssn) ->> 'a') FROM customers",
    "SELECT c.ssn FROM customers c JOIN orders o ON o.customer = c.id",
    "SELECT ssn FROM customers NATURAL JOIN (SELECT 1 AS id) x",
    "SELECT o.id FROM orders o JOIN customers c ON c.ssn = o.id::text",
    "SELECT ssn FROM customers FETCH FIRST 1 ROW ONLY",
    "SELECT xmlelement(name a, ssn) FROM customers",
]  # fmt: skip

# What happens inside is not in the text: masks of columns cannot follow, only a policy that names them lets them by.
UNKNOWN = [
    "SELECT * FROM leak()",
    "SELECT leak()",
    "SELECT (leak()).ssn",
    "SELECT query_to_xml('SELECT ssn FROM masked.customers', true, false, '')",
]

HARMLESS = [
    ("SELECT id, name FROM customers WHERE id = 1", [b"1", b"Bob"]),
    ("SELECT id, ssn FROM customers WHERE name = 'Bob'", [b"1", b"[redacted]"]),
    ("SELECT email FROM customers ORDER BY id", [b"****@example.com"]),
    ("SELECT upper(email) FROM customers", [b"[redacted]"]),
    ("SELECT number FROM shown", [b"[redacted]"]),
    ("SELECT ssn FROM visits_2024", [b"[redacted]"]),
    ("UPDATE customers SET id = id RETURNING id, ssn", [b"1", b"[redacted]"]),
]


@dataclass(frozen=True)
class Setting:
    connection: psycopg.Connection
    catalog: Catalog
    columns: MaskedColumns


@pytest.fixture(scope="module", params=["postgres18", "postgres15"])
def masked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    server: PostgresServer = request.getfixturevalue(request.param)
    connection = psycopg.connect(server.dsn(), autocommit=True)
    connection.execute(SETUP)
    target = Target("masked-db", "postgres", "127.0.0.1", server.port, "postgres", "postgres", "env:X", TlsMode.DISABLE)
    catalog = asyncio.run(read(CatalogReader(target, server.password)))
    file = tmp_path_factory.mktemp("policy") / "policy.yaml"
    file.write_text(POLICY)
    someone = Principal(PrincipalKind.USER, "x", "test", Assurance.VERIFIED, "test")
    with connection:
        yield Setting(connection, catalog, MaskedColumns(load([file]).masks(someone, target), catalog, b"key"))


async def read(reader: CatalogReader) -> Catalog:
    try:
        return await reader.read()
    finally:
        await reader.close()


def facts_of(sql: str, masked: Setting) -> Facts:
    (facts,) = analyze(sql, masked.catalog, PATH)
    return facts


def planned(sql: str, masked: Setting) -> MaskPlan:
    return plan(facts_of(sql, masked), masked.columns)


def fetched(connection: psycopg.Connection, sql: str, made: MaskPlan) -> bytes:
    """All rows as the client gets them, or what the error said. Nothing stays changed."""
    connection.execute("BEGIN")
    try:
        rows = connection.pgconn.exec_(sql.encode())
        fields = [
            Field(
                rows.fname(i) or b"", rows.ftable(i), rows.ftablecol(i), rows.ftype(i), rows.fsize(i), rows.fmod(i), 0
            )
            for i in range(rows.nfields)
        ]
        cells = [[rows.get_value(row, i) for i in range(rows.nfields)] for row in range(rows.ntuples)]
        error = rows.error_message.decode()
    finally:
        connection.execute("ROLLBACK")
    if error:
        return made.scrub(error).encode()
    frames = b""
    for row in cells:
        body = struct.pack("!h", len(row)) + b"".join(
            b"\xff\xff\xff\xff" if cell is None else struct.pack("!i", len(cell)) + cell for cell in row
        )
        frames += b"D" + struct.pack("!i", len(body) + 4) + body
    return bytes(ResultMasker(made, fields).rewriter([]).rewrite(frames)) if frames else b""


def shows(text: bytes) -> bool:
    lowered = text.lower()
    forms = (SSN, SSN[:6], SSN[5:], SSN[::-1], EMAIL, EMAIL.split("@")[0], SSN.encode().hex())
    return any(form.encode().lower() in lowered for form in forms)


def refusal_of(sql: str, masked: Setting) -> PolicyRefusal | None:
    try:
        planned(sql, masked)
    except PolicyRefusal as refusal:
        return refusal
    return None


@pytest.mark.parametrize("sql", STATEMENTS)
def test_pg_12_refused_or_masked(masked: Setting, sql: str) -> None:
    refusal = refusal_of(sql, masked)
    if refusal is not None:
        assert "masked column masked." in refusal.message
        return
    assert facts_of(sql, masked).complete
    assert not shows(fetched(masked.connection, sql, planned(sql, masked)))


@pytest.mark.parametrize("sql", UNKNOWN)
def test_pg_12_what_no_analysis_sees_into_is_incomplete(masked: Setting, sql: str) -> None:
    assert not facts_of(sql, masked).complete
    assert planned(sql, masked).touched, "its errors are withheld"


@pytest.mark.parametrize(("sql", "cells"), HARMLESS)
def test_pg_12_what_masking_leaves_usable(masked: Setting, sql: str, cells: list[bytes]) -> None:
    body = struct.pack("!h", len(cells)) + b"".join(struct.pack("!i", len(cell)) + cell for cell in cells)
    assert fetched(masked.connection, sql, planned(sql, masked)) == b"D" + struct.pack("!i", len(body) + 4) + body


def test_every_masked_column_has_its_origin(masked: Setting) -> None:
    names = {name for name, rule in masked.columns.rules.items() if rule.id}
    assert {
        "masked.customers.ssn", "masked.shown.number", "masked.shown.address", "masked.twice.again",
        "masked.stored.ssn", "masked.visits.ssn", "masked.visits_2024.ssn",
    } <= names  # fmt: skip
    assert len(masked.columns.origins) == len(names)
