"""Masked columns on every path of the wire, against real servers: no value of them in clear, and clients cope."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg import errors

from taskgate.domain import MaskKind, MaskRule
from tests.servers.gate import ScriptedMasks, read_catalog
from tests.servers.gateway import RunningGateway

SSN, EMAIL, CARD = "123-45-6789", "ann@example.com", "4111111111111111"
SECRETS = (SSN, EMAIL, CARD)
REDACTED = MaskRule("masks[0]", MaskKind.REDACT)


@pytest.fixture(autouse=True)
def masked(setup: Callable[[str], None], gateway: RunningGateway) -> None:
    setup(
        f"""CREATE TABLE customers (id int PRIMARY KEY, name text, ssn text, card bigint, note text);
        INSERT INTO customers VALUES
          (1, 'Ann', '{SSN}', {CARD}, 'write to {EMAIL}'), (2, 'Bob', NULL, NULL, 'nothing')"""
    )
    gate = gateway.gate
    gate.catalog = read_catalog(gate.target, gate.secret)
    gate.read_catalog = lambda: read_catalog(gate.target, gate.secret)
    gate.masks = ScriptedMasks(
        {"public.customers.ssn": REDACTED, "public.customers.card": MaskRule("masks[1]", MaskKind.REDACT)},
        {"email": MaskRule("email", MaskKind.REDACT)},
    )


def assert_clean(seen: Any) -> None:
    for secret in SECRETS:
        assert secret not in repr(seen)


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("prepare", [False, True], ids=["unprepared", "prepared"])
def test_rows_of_psycopg(gateway: RunningGateway, binary: bool, prepare: bool) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        for _ in range(3):
            cursor = connection.execute(
                "SELECT * FROM customers WHERE id < %s ORDER BY id", (9,), binary=binary, prepare=prepare
            )
            rows = cursor.fetchall()
            assert_clean(rows)
            assert [row[0] for row in rows] == [1, 2]
            assert rows[1][2:4] == (None, None)
            assert rows[0][1] == "Ann"
            assert isinstance(rows[0][3], str)
    outcome = gateway.session.begun[-1].outcome
    assert outcome.rows == 2
    assert outcome.masked["masks[0]"] == 1


def test_rows_of_a_simple_query_with_several_statements(gateway: RunningGateway) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        cursor = connection.execute("SELECT 1; SELECT ssn, name FROM customers; SELECT name, card FROM customers")
        seen = []
        while True:
            seen.append(cursor.fetchall())
            if not cursor.nextset():
                break
        assert_clean(seen)
        assert seen[0] == [(1,)]
        assert [row[1] for row in seen[1]] == ["Ann", "Bob"]
        assert [row[0] for row in seen[2]] == ["Ann", "Bob"]


def test_rows_of_asyncpg(gateway: RunningGateway) -> None:
    """Binary, described before it is bound, with a statement cache and wire-level cursors."""

    async def run() -> list[Any]:
        connection = await asyncpg.connect(gateway.dsn())
        seen: list[Any] = []
        for _ in range(3):
            seen.append([tuple(row) for row in await connection.fetch("SELECT * FROM customers ORDER BY id")])
        async with connection.transaction():
            seen.append([tuple(row) async for row in connection.cursor("SELECT id, ssn FROM customers", prefetch=1)])
        await connection.close()
        return seen

    seen = asyncio.run(run())
    assert_clean(seen)
    assert seen[0][1] == (2, "Bob", None, None, "nothing")


def test_returning_is_masked(gateway: RunningGateway) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        assert_clean(connection.execute("UPDATE customers SET name = 'X' WHERE id = %s RETURNING *", (1,)).fetchall())
        assert_clean(connection.execute("DELETE FROM customers WHERE id = 1 RETURNING ssn").fetchall())


def test_sql_cursors_and_prepared_statements(gateway: RunningGateway) -> None:
    with psycopg.connect(gateway.dsn()) as connection:
        connection.execute("DECLARE c CURSOR FOR SELECT ssn, note FROM customers")
        assert_clean(connection.execute("FETCH 1 FROM c").fetchall())
        connection.execute("DECLARE b BINARY CURSOR FOR SELECT ssn, card FROM customers")
        assert_clean(connection.execute("FETCH ALL FROM b").fetchall())
        connection.execute("PREPARE p AS SELECT ssn, card FROM customers")
        rows = connection.execute("EXECUTE p").fetchall()
        assert len(rows) == 2
        assert_clean(rows)
        with connection.cursor(name="named") as cursor:
            cursor.execute("SELECT * FROM customers")
            assert_clean(cursor.fetchall())


def test_a_name_given_by_sql_is_not_the_one_given_by_the_wire(gateway: RunningGateway) -> None:
    """Parse and PREPARE share one name space, as Bind and DECLARE do: the gateway must know which one is live."""
    with psycopg.connect(gateway.dsn()) as connection:
        pgconn = connection.pgconn
        assert pgconn.prepare(b"s", b"SELECT name FROM customers").status == 1
        connection.execute("DEALLOCATE s")
        connection.execute("PREPARE s AS SELECT ssn FROM customers")
        result = pgconn.exec_prepared(b"s", [])
        assert result.status == 7, "it cannot be bound by the wire"
        assert_clean(result.error_message)
        connection.rollback()


def test_binary_known_before_bind_even_for_one_batch(gateway: RunningGateway) -> None:
    """Parse, Bind, Describe, Execute and Sync at once, binary: the Bind waits for the fields."""
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        result = connection.pgconn.exec_params(b"SELECT id, card, ssn FROM customers ORDER BY id", [], result_format=1)
        assert result.ntuples == 2
        assert result.get_value(0, 0) == b"\x00\x00\x00\x01"
        assert result.ftype(1) == 25
        assert result.fformat(1) == 1
        assert_clean([result.get_value(0, i) for i in range(3)])


@pytest.mark.parametrize(
    "query",
    [
        "COPY customers TO STDOUT",
        "COPY customers TO STDOUT (FORMAT csv, HEADER)",
        "COPY customers (ssn, id) TO STDOUT WITH CSV QUOTE '''' DELIMITER ';'",
        "COPY (SELECT ssn, note FROM customers) TO STDOUT",
    ],
)
def test_copy_out(gateway: RunningGateway, query: str) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection, connection.cursor() as cursor:
        with cursor.copy(query) as copy:
            data = b"".join(bytes(part) for part in copy)
        assert data.count(b"\n") >= 2
        assert_clean(data)


def test_binary_copy_is_refused_where_anything_is_masked(gateway: RunningGateway) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection, connection.cursor() as cursor:
        with pytest.raises(errors.InsufficientPrivilege, match="binary COPY"):
            with cursor.copy("COPY customers TO STDOUT (FORMAT binary)") as copy:
                list(copy)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_errors_and_notices(gateway: RunningGateway, setup: Callable[[str], None]) -> None:
    setup("CREATE UNIQUE INDEX ON customers (ssn); ALTER TABLE customers ADD CHECK (id > 0)")
    notices: list[str] = []
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: notices.append(repr(vars(notice))))
        for query in (
            f"INSERT INTO customers VALUES (3, 'Eve', '{SSN}')",
            f"INSERT INTO customers VALUES (-1, 'Eve', '{SSN}')",
            "UPDATE customers SET id = -1 WHERE id = 1",
        ):
            with pytest.raises(psycopg.Error) as caught:
                connection.execute(query)
            diagnosis = caught.value.diag
            assert_clean([getattr(diagnosis, name) for name in dir(diagnosis) if name[0] != "_"])
        connection.execute(f"DO $$ BEGIN RAISE NOTICE 'look: {EMAIL}'; END $$")
    assert_clean(notices)
    assert notices


def test_notifications(gateway: RunningGateway) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        connection.execute("LISTEN news")
        connection.execute(f"SELECT pg_notify('news', 'from {EMAIL}')")
        notes = list(connection.notifies(timeout=2, stop_after=1))
        assert len(notes) == 1
        assert_clean(notes)


def test_masks_that_changed_since_describe_make_the_driver_prepare_again(gateway: RunningGateway) -> None:
    async def run() -> tuple[Any, Any]:
        connection = await asyncpg.connect(gateway.dsn())
        before = await connection.fetch("SELECT id, name FROM customers ORDER BY id")

        def tighten() -> None:
            gate = gateway.gate
            gate.masks = ScriptedMasks({**gate.masks.columns, "public.customers.id": REDACTED}, {})
            gate.policy_version += 1

        gateway.call(tighten)
        try:
            after = await connection.fetch("SELECT id, name FROM customers")
        except asyncpg.FeatureNotSupportedError:
            await connection.reload_schema_state()
            after = await connection.fetch("SELECT id, name FROM customers")
        await connection.close()
        return before, after

    before, after = asyncio.run(run())
    assert [row["id"] for row in before] == [1, 2]
    assert all(isinstance(row["id"], str) for row in after)


def test_pipelined(gateway: RunningGateway) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection, connection.pipeline():
        cursors = [
            connection.execute("SELECT ssn, note FROM customers WHERE id = %s", (i,), binary=i % 2 == 0)
            for i in (1, 2, 1)
        ]
        seen = [cursor.fetchall() for cursor in cursors]
    assert_clean(seen)
    assert [len(rows) for rows in seen] == [1, 1, 1]


def test_recorded_rows_are_the_masked_ones(gateway: RunningGateway) -> None:
    from taskgate.domain import RecordingLevel

    gateway.gate.recording = RecordingLevel.RESULTS
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        connection.execute("SELECT * FROM customers").fetchall()
        connection.execute("SELECT * FROM customers WHERE id = %s", (1,)).fetchall()
    assert len(gateway.session.recorded_rows) == 2
    assert_clean(gateway.session.recorded_rows)


@pytest.mark.parametrize("prepared", [False, True], ids=["query", "prepared"])
def test_what_a_text_meant_to_others_is_nothing_to_a_session_that_has_changed_names(
    gateway: RunningGateway, prepared: bool
) -> None:
    """Inside a transaction a masked column takes the name of one that is not, under a text that everybody may run."""
    text = "SELECT upper(name) || '' FROM customers WHERE id = 1"
    gateway.gate.deny = lambda action: (
        "nobody knows what that does" if "upper(" in action.text and not action.complete else None
    )
    with psycopg.connect(gateway.dsn(), autocommit=True) as other:
        for _ in range(3):
            assert other.execute(text).fetchall() == [("ANN",)]
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        for _ in range(3):
            assert connection.execute(text, prepare=prepared).fetchall() == [("ANN",)]
        connection.execute("BEGIN")
        connection.execute("ALTER TABLE customers RENAME name TO former")
        connection.execute("ALTER TABLE customers RENAME ssn TO name")
        with pytest.raises(errors.InsufficientPrivilege, match="nobody knows"):
            connection.execute(text, prepare=prepared)
        connection.execute("ROLLBACK")
        assert connection.execute(text, prepare=prepared).fetchall() == [("ANN",)]


@pytest.mark.parametrize(
    "statement",
    [
        "COPY customers TO STDOUT",
        "COPY customers (id, name) TO STDOUT",
        "COPY (SELECT id, note FROM customers) TO STDOUT (FORMAT csv)",
    ],
)
def test_a_copied_row_is_a_message(gateway: RunningGateway, setup: Callable[[str], None], statement: str) -> None:
    """psycopg takes one row out of each CopyData message, and drops what stands behind it."""
    setup("INSERT INTO customers SELECT n, 'N' || n, 's', n, 'note of ' || n FROM generate_series(10, 500) n")
    with psycopg.connect(gateway.dsn()) as connection, connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            blocks = [bytes(block) for block in copy]
        assert [block.count(b"\n") for block in blocks] == [1] * 493
        if "csv" not in statement:
            with cursor.copy(statement) as copy:
                assert len(list(copy.rows())) == 493


def test_a_text_that_every_server_says_alike_is_shown(gateway: RunningGateway) -> None:
    """Where a masked column is touched texts are withheld; that somebody cancelled holds nothing of anybody's."""
    with psycopg.connect(gateway.dsn(), autocommit=True, options="-c statement_timeout=200") as connection:
        with pytest.raises(errors.QueryCanceled, match="due to statement timeout"):
            connection.execute("SELECT ssn FROM customers, generate_series(1, 100000000)")
        with pytest.raises(errors.NoActiveSqlTransaction, match="only be used in transaction blocks"):
            connection.execute("DECLARE c CURSOR FOR SELECT ssn FROM customers")
