"""The same script direct and through the gateway: everything the client sees has to be the same."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import psycopg2
import pytest
from psycopg import sql as psycopg_sql
from sqlalchemy import create_engine, text

from tests.integration.postgres.differential import observed
from tests.servers.gateway import RunningGateway

Script = Callable[[str], list[Any]]


def _psycopg(*steps: Callable[[psycopg.Connection[Any]], Any], **options: Any) -> Script:
    def run(dsn: str) -> list[Any]:
        notices: list[str] = []
        with psycopg.connect(dsn, **options) as connection:
            connection.add_notice_handler(lambda notice: notices.append(str(notice.message_primary)))
            seen = [observed(lambda step=step: step(connection)) for step in steps]
            seen.append(connection.info.transaction_status)
            seen.append(notices)
            return seen

    return run


def _execute(query: str, parameters: Any = None, **options: Any) -> Callable[[psycopg.Connection[Any]], Any]:
    def run(connection: psycopg.Connection[Any]) -> Any:
        cursor = connection.execute(query, parameters, **options)
        results = []
        while True:
            described = [
                (c.name, c.type_code, c.table_oid if hasattr(c, "table_oid") else None)
                for c in cursor.description or ()
            ]
            rows = cursor.fetchall() if cursor.description else None
            results.append((described, rows, cursor.statusmessage, cursor.rowcount))
            if not cursor.nextset():
                return results

    return run


TYPES = """SELECT 1::int2, 2::int4, 3::int8, 1.5::numeric, 'x'::text, '\\x00ff'::bytea, true, NULL::text,
 '2024-02-29'::date, '{1,2,NULL}'::int[], '{"a":[1,"ü"]}'::jsonb, '10.0.0.1'::inet, 'infinity'::float8, ''::text"""

DEFERRED = """CREATE TABLE p (a int PRIMARY KEY);
CREATE TABLE q (a int REFERENCES p DEFERRABLE INITIALLY DEFERRED)"""
SCHEMAS = """CREATE SCHEMA one; CREATE TABLE one.t AS SELECT 1 AS a;
CREATE SCHEMA two; CREATE TABLE two.t AS SELECT 2 AS a"""

SCRIPTS: dict[str, Script] = {
    "simple": _psycopg(_execute("SELECT 1 AS a, 'x' AS b"), _execute("SELECT generate_series(1, 2000)")),
    "types": _psycopg(_execute(TYPES), _execute(TYPES, binary=True)),
    "parameters": _psycopg(_execute("SELECT %s::int + 1, %s::text", (41, "ü\n")), _execute("SELECT %b, %s", (1, None))),
    "multi": _psycopg(_execute("SELECT 1; SELECT 2, 3; CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)")),
    "empty": _psycopg(_execute(""), _execute(";;"), _execute("-- nothing")),
    "errors": _psycopg(
        _execute("SELECT 1"),
        _execute("SELECT 1/0"),
        _execute("SELECT 2"),
        lambda c: c.rollback(),
        _execute("SELECT 3"),
    ),
    "syntax": _psycopg(_execute("SELEC 1"), lambda c: c.rollback(), _execute("SELECT 1 FROM"), autocommit=True),
    "unknown relation": _psycopg(_execute("SELECT * FROM nowhere"), autocommit=True),
    "savepoints": _psycopg(
        _execute("CREATE TABLE t (a int PRIMARY KEY)"),
        _execute("SAVEPOINT s"),
        _execute("INSERT INTO t VALUES (1)"),
        _execute("INSERT INTO t VALUES (1)"),
        _execute("ROLLBACK TO s"),
        _execute("INSERT INTO t VALUES (2)"),
        lambda c: c.commit(),
        _execute("SELECT * FROM t"),
    ),
    "deferred constraint": _psycopg(
        _execute(DEFERRED),
        lambda c: c.commit(),
        _execute("INSERT INTO q VALUES (1)"),
        lambda c: c.commit(),
        _execute("SELECT count(*) FROM q"),
    ),
    "deferred constraint, autocommit": _psycopg(
        _execute(DEFERRED),
        _execute("INSERT INTO q VALUES (%s)", (1,)),
        _execute("SELECT count(*) FROM q"),
        autocommit=True,
    ),
    "notices": _psycopg(
        _execute("DO $$ BEGIN RAISE NOTICE 'hello %', 1; RAISE WARNING 'careful'; END $$"),
        _execute("SELECT 1"),
        _execute("DROP TABLE IF EXISTS nothing"),
    ),
    "prepared": _psycopg(*[_execute("SELECT %s::int * 2", (i,), prepare=True) for i in range(8)]),
    "prepared, error": _psycopg(
        *[_execute("SELECT 10 / %s::int", (i,), prepare=True) for i in (5, 0)],
        lambda c: c.rollback(),
        *[_execute("SELECT 10 / %s::int", (i,), prepare=True) for i in (5, 0, 2)],
        autocommit=True,
    ),
    "search_path": _psycopg(
        _execute(SCHEMAS),
        _execute("SET search_path TO one"),
        _execute("SELECT * FROM t", prepare=True),
        _execute("SET search_path TO two"),
        _execute("SELECT * FROM t", prepare=True),
        lambda c: c.commit(),
        _execute("SET search_path TO one"),
        _execute("SELECT * FROM t"),
        lambda c: c.rollback(),
        _execute("SELECT * FROM t"),
        _execute("SHOW search_path"),
        _execute("RESET ALL"),
        _execute("SELECT * FROM t"),
    ),
    "settings": _psycopg(
        _execute("SET DateStyle TO 'German'"),
        _execute("SELECT '2024-02-01'::date::text"),
        _execute("SHOW DateStyle"),
        _execute("SET TIME ZONE 'Asia/Tokyo'"),
        _execute("SELECT current_setting('TimeZone')"),
        lambda c: c.info.parameter_status("TimeZone"),
        _execute("SET statement_timeout = 50"),
        _execute("SELECT pg_sleep(5)"),
    ),
    "copy": _psycopg(
        _execute("CREATE TABLE t (a int, b text)"),
        lambda c: _copy_in(c, "COPY t FROM STDIN", [(i, f"row {i}\t\\") for i in range(500)]),
        lambda c: _copy_out(c, "COPY t TO STDOUT"),
        lambda c: _copy_out(c, "COPY (SELECT a FROM t) TO STDOUT (FORMAT csv, HEADER)"),
        lambda c: _copy_out(c, "COPY t TO STDOUT (FORMAT binary)"),
    ),
    "copy, broken data": _psycopg(
        _execute("CREATE TABLE t (a int)"),
        lambda c: c.commit(),
        lambda c: _copy_raw(c, "COPY t FROM STDIN", b"1\nx\n" * 3000),
        lambda c: c.rollback(),
        _execute("SELECT count(*) FROM t"),
    ),
    "copy, failed by the client": _psycopg(
        _execute("CREATE TABLE t (a int)"),
        lambda c: c.commit(),
        lambda c: _copy_abandoned(c),
        lambda c: c.rollback(),
        _execute("SELECT count(*) FROM t"),
    ),
    "copy, no such table": _psycopg(
        lambda c: _copy_raw(c, "COPY nowhere FROM STDIN", b"1\n"), lambda c: c.rollback(), _execute("SELECT 1")
    ),
    "server cursor": _psycopg(lambda c: _server_cursor(c), lambda c: _server_cursor(c)),
    "pipeline": _psycopg(lambda c: _pipeline(c), _execute("SELECT 1"), autocommit=True),
    "pipeline with an error": _psycopg(lambda c: _pipeline_error(c), _execute("SELECT 'still here'"), autocommit=True),
    "stream": _psycopg(lambda c: list(c.cursor().stream("SELECT generate_series(1, 50)"))),
    "two phase": _psycopg(lambda c: _two_phase(c)),
    "listen": _psycopg(lambda c: _listen(c), autocommit=True),
    "temporary": _psycopg(
        _execute("CREATE TEMP TABLE t (a int)"),
        _execute("INSERT INTO t VALUES (1)"),
        _execute("SELECT * FROM t"),
        _execute("DISCARD ALL"),
        lambda c: c.rollback(),
        _execute("SELECT * FROM t"),
    ),
    "prepare by sql": _psycopg(
        _execute("PREPARE p(int) AS SELECT $1 + 1"),
        _execute("EXECUTE p(41)"),
        _execute("DEALLOCATE p"),
        _execute("EXECUTE p(1)"),
    ),
    "cursor by sql": _psycopg(
        _execute("DECLARE c CURSOR FOR SELECT generate_series(1, 10)"),
        _execute("FETCH 3 FROM c"),
        _execute("MOVE 2 IN c"),
        _execute("FETCH ALL FROM c"),
        _execute("CLOSE c"),
        _execute("FETCH c"),
    ),
    "binary cursor": _psycopg(_execute("DECLARE c BINARY CURSOR FOR SELECT 1::int4, 'x'::text"), _execute("FETCH c")),
    "composed": _psycopg(
        lambda c: c.execute(psycopg_sql.SQL("SELECT {} AS {}").format("ü", psycopg_sql.Identifier("ü"))).fetchall()
    ),
    "large": _psycopg(
        _execute("SELECT repeat('x', 3000000), repeat('y', 10)"), _execute("SELECT length(%s)", ("z" * 2_000_000,))
    ),
    "invalid utf-8": _psycopg(lambda c: c.pgconn.exec_(b"SELECT '\xff'").error_message.decode().splitlines()[0]),
    "many columns": _psycopg(_execute("SELECT " + ", ".join(f"{i} AS c{i}" for i in range(1000)))),
}


def _copy_in(connection: psycopg.Connection[Any], query: str, rows: list[Any]) -> Any:
    with connection.cursor() as cursor:
        with cursor.copy(query) as copy:
            for row in rows:
                copy.write_row(row)
        return cursor.statusmessage


def _copy_raw(connection: psycopg.Connection[Any], query: str, data: bytes) -> Any:
    with connection.cursor() as cursor:
        with cursor.copy(query) as copy:
            for start in range(0, len(data), 1000):
                copy.write(data[start : start + 1000])
        return cursor.statusmessage


def _copy_abandoned(connection: psycopg.Connection[Any]) -> Any:
    with connection.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
        copy.write(b"1\n")
        raise ValueError("changed my mind")


def _copy_out(connection: psycopg.Connection[Any], query: str) -> Any:
    with connection.cursor() as cursor:
        with cursor.copy(query) as copy:
            data = b"".join(bytes(part) for part in copy)
        return data, cursor.statusmessage


def _server_cursor(connection: psycopg.Connection[Any]) -> Any:
    with connection.cursor(name="mine") as cursor:
        cursor.itersize = 7
        cursor.execute("SELECT i, 'row ' || i FROM generate_series(1, %s) AS i", (30,))
        first = cursor.fetchmany(5)
        cursor.scroll(3)
        return first, list(cursor)


def _pipeline(connection: psycopg.Connection[Any]) -> Any:
    connection.execute("CREATE TABLE t (a int)")
    with connection.pipeline() as pipeline:
        cursors = [connection.execute("INSERT INTO t VALUES (%s) RETURNING a", (i,)) for i in range(20)]
        pipeline.sync()
        total = connection.execute("SELECT sum(a) FROM t")
        return [cursor.fetchall() for cursor in cursors], total.fetchall()


def _pipeline_error(connection: psycopg.Connection[Any]) -> Any:
    connection.execute("CREATE TABLE t (a int)")

    def pipelined() -> None:
        with connection.pipeline():
            for divisor in (1, 0, 2):
                connection.execute("INSERT INTO t VALUES (10 / %s)", (divisor,))

    return observed(pipelined), connection.execute("SELECT count(*) FROM t").fetchall()


def _two_phase(connection: psycopg.Connection[Any]) -> Any:
    return observed(lambda: connection.execute("PREPARE TRANSACTION 'x'")), connection.info.transaction_status


def _listen(connection: psycopg.Connection[Any]) -> Any:
    connection.execute("LISTEN news")
    connection.execute("NOTIFY news, 'extra extra'")
    return [(note.channel, note.payload) for note in connection.notifies(timeout=2, stop_after=1)]


def _psycopg2(dsn: str) -> list[Any]:
    connection = psycopg2.connect(dsn)
    seen: list[Any] = []
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (a int, b text)")
        cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(i, f"b{i}") for i in range(10)])
        cursor.execute("SELECT * FROM t ORDER BY a")
        seen.append(cursor.fetchall())
        seen.append(observed(lambda: cursor.execute("SELECT 1/0")))
        connection.rollback()
        cursor.execute("SELECT %s, %s", (1, "it's"))
        seen.append((cursor.fetchall(), cursor.statusmessage))
    with connection.cursor("named") as cursor:
        cursor.execute("SELECT generate_series(1, 5000)")
        seen.append(sum(row[0] for row in cursor))
    connection.close()
    return seen


def _sqlalchemy(driver: str) -> Script:
    def run(dsn: str) -> list[Any]:
        engine = create_engine(dsn.replace("postgresql://", f"postgresql+{driver}://"))
        seen: list[Any] = []
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE t (a int PRIMARY KEY, b text)"))
            connection.execute(text("INSERT INTO t VALUES (:a, :b)"), [{"a": i, "b": str(i)} for i in range(5)])
        with engine.connect() as connection:
            seen.append([tuple(row) for row in connection.execute(text("SELECT * FROM t WHERE a > :a"), {"a": 2})])
            seen.append(observed(lambda: connection.execute(text("SELECT 1/0"))))
            connection.rollback()
            seen.append(connection.execute(text("SELECT current_schema()")).scalar())
        from sqlalchemy import inspect

        seen.append([(column["name"], str(column["type"])) for column in inspect(engine).get_columns("t")])
        engine.dispose()
        return seen

    return run


async def _asyncpg_steps(dsn: str) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    seen: list[Any] = []
    try:
        await connection.execute("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TABLE t (a int, m mood, b bytea)")
        await connection.executemany("INSERT INTO t VALUES ($1, $2, $3)", [(i, "happy", bytes([i])) for i in range(9)])
        seen.append([tuple(row) for row in await connection.fetch("SELECT * FROM t WHERE a < $1 ORDER BY a", 4)])
        for _ in range(3):
            seen.append([tuple(row) for row in await connection.fetch("SELECT m, count(*) FROM t GROUP BY m")])
        async with connection.transaction():
            cursor = [tuple(row) async for row in connection.cursor("SELECT a FROM t ORDER BY a", prefetch=2)]
            seen.append(cursor)
        try:
            async with connection.transaction():
                await connection.execute("INSERT INTO t VALUES ($1)", 99)
                await connection.execute("SELECT 1/0")
        except asyncpg.DivisionByZeroError as error:
            seen.append(str(error))
        seen.append(await connection.fetchval("SELECT count(*) FROM t"))
        await connection.copy_records_to_table("t", records=[(100 + i, "sad", b"x") for i in range(50)])
        written = bytearray()

        async def write(data: bytes) -> None:
            written.extend(data)

        await connection.copy_from_query("SELECT a FROM t ORDER BY a", output=write, format="csv")
        seen.append(bytes(written))
        prepared = await connection.prepare("SELECT $1::int, $2::mood, $3::int[]")
        seen.append([(p.name, p.kind) for p in prepared.get_parameters()])
        seen.append(tuple(await prepared.fetchrow(1, "sad", [1, 2])))
        await connection.reset()
        seen.append(await connection.fetchval("SELECT 1"))
    finally:
        await connection.close()
    return seen


SCRIPTS |= {
    "psycopg2": _psycopg2,
    "sqlalchemy, psycopg": _sqlalchemy("psycopg"),
    "sqlalchemy, psycopg2": _sqlalchemy("psycopg2"),
    "asyncpg": lambda dsn: asyncio.run(_asyncpg_steps(dsn)),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_as_direct(name: str, direct: str, gateway: RunningGateway, setup: Callable[[str], None]) -> None:
    expected = SCRIPTS[name](direct)
    setup("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP SCHEMA IF EXISTS one, two CASCADE")
    gateway.call(lambda: None)
    seen = SCRIPTS[name](gateway.dsn())
    assert _comparable(seen) == _comparable(expected)


def _comparable(value: Any) -> str:
    """Without object ids, which differ between two runs."""
    return re.sub(r"\b\d{5,6}\b(?=, None\))", "oid", repr(value))
