"""PG-12: a value in every type and format, NULLs and nothing at all, through the masks, from real servers.

What the gateway does at Describe, Bind and DataRow is done here step by step with libpq, one column a statement.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import pq
from psycopg.adapt import Transformer

from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import MaskKind, MaskRule
from taskgate.masking.plan import MaskPlan
from taskgate.protocols.postgres.fields import Field
from taskgate.protocols.postgres.rows import ResultMasker

CARD, EMAIL = "4111111111111111", "canary.bob@example.com"
REDACT = {name: MaskRule(name, MaskKind.REDACT) for name in ("email", "credit_card")}
DETECT = MaskPlan(True, detectors=REDACT)

SETUP = f"""
DROP SCHEMA IF EXISTS pg12 CASCADE; CREATE SCHEMA pg12; SET search_path TO pg12;
CREATE DOMAIN contact AS text; CREATE DOMAIN contact_number AS int8;
CREATE TYPE mood AS ENUM ('{EMAIL}', 'fine');
CREATE TYPE person AS (name text, card int8, extra jsonb, raw bytea);
CREATE TYPE people AS (leader person, others text[]);
CREATE TYPE names AS RANGE (subtype = text);
CREATE TABLE customers (id int, email text, card int8, note varchar(80), data jsonb);
INSERT INTO customers VALUES (1, '{EMAIL}', {CARD}, 'call {CARD}', '{{"mail": "{EMAIL}", "n": {CARD}}}');
CREATE VIEW shown AS SELECT id, email AS address FROM customers;
CREATE MATERIALIZED VIEW stored AS SELECT id, email AS address FROM customers;
CREATE TABLE parent (email text); CREATE TABLE child () INHERITS (parent); INSERT INTO child VALUES ('{EMAIL}');
"""

HEX = EMAIL.encode().hex()
EXPRESSIONS = {
    "text": f"'{EMAIL}'::text",
    "text inside": f"'mail to {EMAIL} now'::text",
    "varchar": f"'{EMAIL}'::varchar(60)",
    "bpchar": f"'{EMAIL}'::char(60)",
    "name": f"'{EMAIL}'::name",
    "unknown": f"'{EMAIL}'",
    "int8": f"{CARD}::int8",
    "numeric": f"{CARD}::numeric",
    "numeric with fraction": f"{CARD}.25::numeric(30,2)",
    "negative numeric": f"-{CARD}::numeric",
    "float8": f"{CARD}::float8",
    "json": f"""'{{"a": "{EMAIL}", "n": {CARD}}}'::json""",
    "json escaped": """'{"a": "canary.\\u0062ob\\u0040example.com"}'::json""",
    "jsonb": f"""'{{"a": ["{EMAIL}", {{"n": {CARD}}}]}}'::jsonb""",
    "json_build_object": f"json_build_object('a', '{EMAIL}')",
    "bytea": f"'{EMAIL}'::bytea",
    "convert_to": f"convert_to('é{EMAIL}', 'UTF8')",
    "text[]": f"ARRAY['x', '{EMAIL}', NULL]",
    "text[][]": f"ARRAY[['x', '{EMAIL}'], ['a,b', 'c\"d']]",
    "varchar[]": f"ARRAY['{EMAIL}']::varchar[]",
    "name[]": f"ARRAY['{EMAIL}']::name[]",
    "int8[]": f"ARRAY[{CARD}, 1]::int8[]",
    "numeric[]": f"ARRAY[{CARD}, 1]::numeric[]",
    "jsonb[]": f"""ARRAY['{{"a": "{EMAIL}"}}'::jsonb]""",
    "json[]": f"""ARRAY['{{"a": "{EMAIL}"}}'::json]""",
    "bytea[]": f"ARRAY['{EMAIL}'::bytea]",
    "domain": f"'{EMAIL}'::contact",
    "domain number": f"{CARD}::contact_number",
    "domain[]": f"ARRAY['{EMAIL}'::contact]",
    "enum": f"'{EMAIL}'::mood",
    "enum[]": f"ARRAY['{EMAIL}'::mood]",
    "composite": f"""ROW('{EMAIL}', {CARD}, '{{"a": {CARD}}}', '{EMAIL}'::bytea)::person""",
    "composite[]": f"ARRAY[ROW('{EMAIL}', {CARD}, NULL, NULL)::person]",
    "nested composite": f"ROW(ROW('{EMAIL}', {CARD}, NULL, '{EMAIL}'::bytea)::person, ARRAY['{EMAIL}'])::people",
    "record": f"ROW(1, '{EMAIL}', {CARD})",
    "record[]": f"ARRAY[ROW('{EMAIL}', 1)]",
    "whole row": "customers FROM customers",
    "row_to_json": "row_to_json(customers) FROM customers",
    "to_jsonb": "to_jsonb(customers) FROM customers",
    "row as text": "customers::text FROM customers",
    "json_agg": "json_agg(customers) FROM customers",
    "array_agg": "array_agg(customers) FROM customers",
    "string_agg": "string_agg(email, '|') FROM customers",
    "int8range": f"int8range({CARD}, 5000000000000000)",
    "numrange": f"numrange({CARD}, NULL)",
    "int8multirange": f"int8multirange(int8range({CARD}, 5000000000000000))",
    "textrange": f"names('{EMAIL}', 'z')",
    "tsvector": f"to_tsvector('simple', '{EMAIL}')",
    "tsquery": f"plainto_tsquery('simple', '{EMAIL}')",
    "view": "address FROM shown",
    "materialised view": "address FROM stored",
    "inheritance": "email FROM parent",
    "column": "note FROM customers",
    "long text": f"repeat('x', 300000) || ' {EMAIL} ' || repeat('y', 300000)",
    "cell of 54 bytes": f"rpad('{CARD}', 54, '.')",  # its length byte is the digit 6
    "refcursor": f"'{EMAIL}'::refcursor",
    "concat": f"concat('a', ' ', '{EMAIL}')",
    "zero-width": f"replace('{CARD}', '1111', '1' || chr(8203) || '111')",
}


@pytest.fixture(scope="module")
def connection(postgres_both: PostgresServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_both.dsn(), autocommit=True) as opened:
        opened.execute(SETUP)
        yield opened


@pytest.fixture(scope="module", params=["postgres18", "postgres15"])
def postgres_both(request: pytest.FixtureRequest) -> PostgresServer:
    server: PostgresServer = request.getfixturevalue(request.param)
    return server


def result(done: pq.abc.PGresult) -> pq.abc.PGresult:
    assert done.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK), done.error_message
    return done


def described(connection: psycopg.Connection, sql: str) -> Field:
    server = connection.pgconn
    result(server.prepare(b"", sql.encode()))
    fields = result(server.describe_prepared(b""))
    return Field(
        fields.fname(0) or b"",
        fields.ftable(0),
        fields.ftablecol(0),
        fields.ftype(0),
        fields.fsize(0),
        fields.fmod(0),
        0,
    )


def through(
    connection: psycopg.Connection, sql: str, plan: MaskPlan, asked: int
) -> tuple[bytes | None, Field, dict[str, int]]:
    """(the cell as the client gets it, its description, counts) of a statement of one row and column."""
    masker = ResultMasker(plan, [described(connection, sql)])
    formats = masker.fetch_formats([asked])
    fetched = result(connection.pgconn.exec_prepared(b"", [], result_format=formats[0]))
    cell = fetched.get_value(0, 0)
    body = b"\0\1" + (b"\xff\xff\xff\xff" if cell is None else struct.pack("!i", len(cell)) + cell)
    rewriter = masker.rewriter(formats)
    out = bytes(rewriter.rewrite(b"D" + struct.pack("!i", len(body) + 4) + body))
    assert len(out) == 1 + int.from_bytes(out[1:5], "big")
    size = int.from_bytes(out[7:11], "big", signed=True)
    (seen,) = masker.described([asked])
    return (None if size < 0 else out[11:]), seen, rewriter.counts


def decoded(connection: psycopg.Connection, cell: bytes | None, seen: Field) -> object:
    return (
        None if cell is None else Transformer(connection).get_loader(seen.type_oid, pq.Format(seen.format)).load(cell)
    )


def leaks(cell: bytes | None) -> bool:
    forms = (CARD.encode(), EMAIL.encode(), HEX.encode(), struct.pack("!q", int(CARD)), struct.pack("!d", float(CARD)))
    groups = struct.pack("!4h", 4111, 1111, 1111, 1111)
    return cell is not None and any(form in cell for form in (*forms, groups, b"\\u0040", "​".encode()))


@pytest.mark.parametrize("asked", [0, 1], ids=["text", "binary"])
@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_pg_12_detectors_find_it_in_every_type(connection: psycopg.Connection, expression: str, asked: int) -> None:
    cell, seen, counts = through(connection, f"SELECT {expression}", DETECT, asked)
    assert not leaks(cell)
    assert counts
    value = decoded(connection, cell, seen)
    assert EMAIL not in str(value)
    assert CARD not in str(value)
    assert value is None or "[redacted]" in str(value)


@pytest.mark.parametrize("asked", [0, 1], ids=["text", "binary"])
@pytest.mark.parametrize("kind", [MaskKind.REDACT, MaskKind.HASH, MaskKind.PARTIAL, MaskKind.NULL])
@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_pg_12_columns_are_masked_in_every_type(
    connection: psycopg.Connection, expression: str, kind: MaskKind, asked: int
) -> None:
    plan = MaskPlan(True, (MaskRule("m", kind),), touched=True, hash_key=b"k")
    cell, seen, counts = through(connection, f"SELECT {expression}", plan, asked)
    assert not leaks(cell)
    assert counts == {"m": 1}
    assert seen.table_oid == 0
    assert seen.format == asked
    assert isinstance(decoded(connection, cell, seen), str) is (kind is not MaskKind.NULL)


@pytest.mark.parametrize("asked", [0, 1], ids=["text", "binary"])
def test_pg_12_null_and_nothing(connection: psycopg.Connection, asked: int) -> None:
    rule = MaskPlan(True, (MaskRule("m", MaskKind.REDACT),))
    assert through(connection, "SELECT NULL::text", rule, asked)[0] is None
    assert through(connection, "SELECT NULL::int8", DETECT, asked)[0] is None
    assert through(connection, "SELECT ''::text", DETECT, asked)[0] == b""
    assert through(connection, "SELECT ''::text", rule, asked)[0] == b"[redacted]"
    assert decoded(connection, *through(connection, "SELECT '{}'::text[]", DETECT, asked)[:2]) == []


@pytest.mark.parametrize("asked", [0, 1], ids=["text", "binary"])
def test_pg_12_xml(postgres15: PostgresServer, asked: int) -> None:
    """Of the two servers only this one is built with libxml."""
    with psycopg.connect(postgres15.dsn(), autocommit=True) as opened:
        cell, seen, _ = through(opened, f"SELECT '<a>{EMAIL}</a>'::xml", DETECT, asked)
        assert cell == b"<a>[redacted]</a>"
        assert seen.type_oid == 142


CLEAN = {
    "int4": ("1", 1), "bool": ("true", True), "int8": ("12345678901::int8", 12345678901), "text": ("'x'::text", "x"),
    "text[]": ("ARRAY['a', NULL]", ["a", None]), "jsonb": ("""'{"a": 1}'::jsonb""", {"a": 1}),
    "numeric": ("1.50::numeric", None), "bytea": ("'\\x0102'::bytea", b"\1\2"), "uuid": ("gen_random_uuid()", None),
    "timestamptz": ("now()", None), "date[]": ("ARRAY[current_date]", None), "oid[]": ("ARRAY[1::oid]", [1]),
    "float8": ("1.5::float8", 1.5), "inet": ("'10.1.2.3'::inet", None), "void": ("pg_sleep(0)", None),
}  # fmt: skip


@pytest.mark.parametrize("asked", [0, 1], ids=["text", "binary"])
@pytest.mark.parametrize("name", CLEAN)
def test_pg_12_clean_values_keep_type_and_bytes(connection: psycopg.Connection, name: str, asked: int) -> None:
    expression, expected = CLEAN[name]
    sql = f"SELECT {expression}"
    before = described(connection, sql)
    cell, seen, counts = through(connection, sql, DETECT, asked)
    assert (seen.type_oid, seen.table_oid, seen.typmod) == (before.type_oid, before.table_oid, before.typmod)
    assert seen.format == asked
    assert counts == {}
    value = decoded(connection, cell, seen)
    assert expected is None or value == expected


@pytest.mark.parametrize("sql", ["SELECT * FROM customers", "SELECT email FROM shown", "SELECT address FROM stored"])
def test_pg_12_origins_mask_what_the_analysis_overlooked(connection: psycopg.Connection, sql: str) -> None:
    """RowDescription names the table and the view; the net holds without any lineage."""
    sql = sql.replace("SELECT *", "SELECT email").replace("email FROM shown", "address FROM shown")
    field = described(connection, sql)
    plan = MaskPlan(True, None, origins={(field.table_oid, field.attnum): MaskRule("m", MaskKind.PARTIAL)})
    cell, _, _ = through(connection, sql, plan, 0)
    assert cell == b"****@example.com"


def test_pg_12_origin_is_traced_through_subqueries_but_not_expressions(connection: psycopg.Connection) -> None:
    """What `partial` relies on: no origin, no part of the value."""
    assert described(connection, "WITH a AS (SELECT email FROM customers) SELECT x.email FROM (TABLE a) x").table_oid
    for expression in ("left(email, 3)", "lower(email)", "email::bytea", "max(email)", "email || ''"):
        assert described(connection, f"SELECT {expression} FROM customers").table_oid == 0


def test_pg_12_returning(connection: psycopg.Connection) -> None:
    cell, _, _ = through(connection, "UPDATE customers SET id = id RETURNING email", DETECT, 0)
    assert cell == b"[redacted]"


def test_pg_12_binary_cursor(connection: psycopg.Connection) -> None:
    """A binary cursor answers a simple query in binary, whatever the column is described as."""
    connection.execute("BEGIN")
    try:
        connection.execute(
            "DECLARE c BINARY CURSOR FOR SELECT ROW('x', 1)::text, card, ROW(email, card) FROM customers"
        )
        rows = result(connection.pgconn.exec_(b"FETCH ALL FROM c"))
        fields = [
            Field(b"", rows.ftable(i), rows.ftablecol(i), rows.ftype(i), rows.fsize(i), rows.fmod(i), rows.fformat(i))
            for i in range(3)
        ]
        assert [field.format for field in fields] == [1, 1, 1]
        cells = [rows.get_value(0, i) or b"" for i in range(3)]
    finally:
        connection.execute("ROLLBACK")
    body = b"\0\3" + b"".join(struct.pack("!i", len(cell)) + cell for cell in cells)
    rewriter = ResultMasker(DETECT, fields).rewriter([field.format for field in fields])
    out = bytes(rewriter.rewrite(b"D" + struct.pack("!i", len(body) + 4) + body))
    assert not leaks(out)
    assert rewriter.counts == {"credit_card": 1, "unsearchable": 1}
