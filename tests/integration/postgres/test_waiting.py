"""Parked statements, row bounds, cancel requests, sessions that end: what waits, and for what."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import errors

from taskgate.domain import RecordingLevel, TransactionState
from tests.servers.gate import PASSWORD, USER
from tests.servers.gateway import RunningGateway


@pytest.fixture(autouse=True)
def table(setup: Callable[[str], None], gateway: RunningGateway) -> None:
    setup("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 10)")
    gateway.gate.approve = lambda action: "DELETE" in action.text


def count(direct: str) -> int:
    with psycopg.connect(direct) as connection:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])  # type: ignore[index]


def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def decide(gateway: RunningGateway, approved: bool, which: int = 0) -> None:
    until(lambda: len(gateway.gate.parked) > which)
    gateway.call(lambda: gateway.gate.parked[which][1].set_result(approved))


@contextmanager
def running(work: Callable[[], None]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield thread
    thread.join(20)
    assert not thread.is_alive()


class Client:
    """A psycopg connection that runs one statement on a thread, and what came of it."""

    def __init__(self, dsn: str, query: str, parameters: Any = None, before: tuple[str, ...] = ()) -> None:
        self.notices: list[str] = []
        self.error: Exception | None = None
        self.rows = -1
        self.connection = psycopg.connect(dsn, autocommit=not before)
        self.connection.add_notice_handler(lambda notice: self.notices.append(str(notice.message_hint)))
        for step in before:
            self.connection.execute(step)
        self._query, self._parameters = query, parameters

    def run(self) -> None:
        try:
            self.rows = self.connection.execute(self._query, self._parameters).rowcount
        except Exception as error:  # noqa: BLE001  the test looks at it
            self.error = error


DELETES = pytest.mark.parametrize(
    ("query", "parameters"),
    [("DELETE FROM t WHERE a = 3", None), ("DELETE FROM t WHERE a = %s", (3,))],
    ids=["simple", "extended"],
)


@DELETES
def test_an_approved_statement_runs(gateway: RunningGateway, direct: str, query: str, parameters: Any) -> None:
    client = Client(gateway.dsn(), query, parameters)
    with running(client.run):
        until(lambda: client.notices or client.error)
        assert "http://dashboard.invalid/apr_1" in client.notices[0]
        assert count(direct) == 10, "it waits"
        decide(gateway, True)
    assert client.rows == 1
    assert count(direct) == 9
    action = gateway.gate.parked[0][0]
    assert action.transaction is TransactionState.IDLE
    assert [p.value for p in action.parameters] == ([b"\x00\x03"] if parameters else [])


@DELETES
def test_a_denied_statement_does_not(gateway: RunningGateway, direct: str, query: str, parameters: Any) -> None:
    client = Client(gateway.dsn(), query, parameters)
    with running(client.run):
        decide(gateway, False)
    assert isinstance(client.error, errors.InsufficientPrivilege)
    assert count(direct) == 10
    assert client.connection.execute("SELECT 1").fetchone() == (1,)


def test_a_parked_statement_locks_nothing_and_holds_up_nobody(gateway: RunningGateway, direct: str) -> None:
    client = Client(gateway.dsn(), "DELETE FROM t WHERE a = %s", (3,))
    with running(client.run):
        until(lambda: gateway.gate.parked)
        with psycopg.connect(gateway.dsn(), autocommit=True) as other:
            other.execute("SET lock_timeout = '1s'")
            other.execute("ALTER TABLE t ADD COLUMN b int")
        decide(gateway, True)
    assert client.rows == 1


def test_approved_again_for_every_execution(gateway: RunningGateway) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        done: list[int] = []

        def work() -> None:
            for number in (1, 2, 3):
                done.append(connection.execute("DELETE FROM t WHERE a = %s", (number,), prepare=True).rowcount)

        with running(work):
            for turn in range(3):
                decide(gateway, True, turn)
    assert done == [1, 1, 1]
    assert [action.parameters[0].value for action, _ in gateway.gate.parked] == [b"\0\1", b"\0\2", b"\0\3"]


@pytest.mark.parametrize(
    ("before", "expected"),
    [(("BEGIN",), TransactionState.BEGUN), (("BEGIN", "SELECT 1"), TransactionState.ACTIVE)],
)
def test_what_it_says_of_the_transaction(
    gateway: RunningGateway, before: tuple[str, ...], expected: TransactionState
) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        for step in before:
            connection.execute(step)

        with running(lambda: connection.execute("DELETE FROM t WHERE a = 1") and None):
            decide(gateway, True)
        connection.execute("ROLLBACK")
    assert gateway.gate.parked[0][0].transaction is expected


def test_cancel_withdraws_a_parked_statement(gateway: RunningGateway, direct: str) -> None:
    client = Client(gateway.dsn(), "DELETE FROM t")
    with running(client.run):
        until(lambda: gateway.gate.parked)
        client.connection.cancel_safe()  # `cancel` would hold the interpreter, and with it the gateway's thread
    assert isinstance(client.error, errors.QueryCanceled)
    assert gateway.session.withdrawn == 1
    assert count(direct) == 10
    assert client.connection.execute("SELECT 1").fetchone() == (1,)


def test_cancel_inside_a_transaction_fails_the_transaction(gateway: RunningGateway, direct: str) -> None:
    client = Client(gateway.dsn(), "DELETE FROM t", None, ("INSERT INTO t VALUES (11)",))
    with running(client.run):
        until(lambda: gateway.gate.parked)
        client.connection.cancel_safe()  # `cancel` would hold the interpreter, and with it the gateway's thread
    client.connection.commit()
    assert count(direct) == 10


def test_a_client_that_leaves_withdraws_its_parked_statement(gateway: RunningGateway, direct: str) -> None:
    client = Client(gateway.dsn(), "DELETE FROM t")
    connection = client.connection.pgconn
    connection.send_query(b"DELETE FROM t")
    until(lambda: gateway.gate.parked)
    connection.finish()
    until(lambda: gateway.session.closed)
    assert gateway.session.withdrawn == 1
    gateway.call(lambda: gateway.gate.parked[0][1].cancelled() or gateway.gate.parked[0][1].set_result(True))
    time.sleep(0.2)
    assert count(direct) == 10


def test_cancel_reaches_the_target(gateway: RunningGateway) -> None:
    client = Client(gateway.dsn(), "SELECT pg_sleep(30)")
    started = time.monotonic()
    with running(client.run):
        time.sleep(0.3)
        client.connection.cancel_safe()  # `cancel` would hold the interpreter, and with it the gateway's thread
    assert isinstance(client.error, errors.QueryCanceled)
    assert time.monotonic() - started < 5


def test_the_hold_ends_in_a_refusal(gateway: RunningGateway, direct: str) -> None:
    gateway.gate.hold = 0.2
    client = Client(gateway.dsn(), "DELETE FROM t")
    with running(client.run):
        pass
    assert isinstance(client.error, errors.InsufficientPrivilege)
    assert count(direct) == 10


# --- row bounds ---


@pytest.fixture
def bounded(gateway: RunningGateway) -> None:
    gateway.gate.approve = lambda action: False
    gateway.gate.row_bound = lambda action: 3


BOUNDED = pytest.mark.parametrize("parameters", [None, (0,)], ids=["simple", "extended"])


def deletion(rows: int, parameters: Any, rest: str = "") -> tuple[str, Any]:
    query = f"DELETE FROM t WHERE a <= {rows}" + (" AND a > %s" if parameters else "") + rest
    return query, parameters


@BOUNDED
def test_within_the_bound(gateway: RunningGateway, direct: str, bounded: None, parameters: Any) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        cursor = connection.execute(*deletion(2, parameters, " RETURNING a"))
        assert (cursor.rowcount, cursor.statusmessage) == (2, "DELETE 2")
        assert cursor.fetchall() == [(1,), (2,)]
        cursor = connection.execute(*deletion(3, parameters))
        assert (cursor.rowcount, cursor.description) == (1, None)
    assert count(direct) == 7
    assert gateway.session.begun[0].outcome.rows == 2


@BOUNDED
def test_over_the_bound(gateway: RunningGateway, direct: str, bounded: None, parameters: Any) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        for rest in ("", " RETURNING a"):
            with pytest.raises(errors.InsufficientPrivilege, match="9 rows would change, 3 are allowed"):
                connection.execute(*deletion(9, parameters, rest))
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert count(direct) == 10
    assert gateway.session.begun[0].outcome.error is not None


@BOUNDED
def test_over_the_bound_in_a_transaction(gateway: RunningGateway, direct: str, bounded: None, parameters: Any) -> None:
    with psycopg.connect(gateway.dsn()) as connection:
        connection.execute("INSERT INTO t VALUES (11)")
        with pytest.raises(errors.InsufficientPrivilege) as caught:
            connection.execute(*deletion(9, parameters))
        assert "whole transaction" in str(caught.value.diag.message_detail)
        connection.commit()
    assert count(direct) == 10


def test_errors_of_a_bounded_query(gateway: RunningGateway, bounded: None) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        for query in ("DELETE FROM nowhere", "DELETE FROM t WHERE 1/0 = a"):
            with pytest.raises((errors.UndefinedTable, errors.DivisionByZero)):
                connection.execute(query)
            assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM t WHERE a = 1; DELETE FROM t WHERE a = 2",
        "WITH gone AS (DELETE FROM t RETURNING a) SELECT count(*) FROM gone",
        "WITH gone AS (DELETE FROM t RETURNING a) UPDATE t SET a = 0 WHERE a = 1",
        "TRUNCATE t",
    ],
)
def test_what_cannot_be_counted_is_refused(gateway: RunningGateway, direct: str, bounded: None, query: str) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection, pytest.raises(errors.FeatureNotSupported):
        connection.execute(query)
    assert count(direct) == 10


# --- ends ---


def test_a_revoked_session_ends_at_once_on_both_sides(gateway: RunningGateway, direct: str) -> None:
    client = Client(gateway.dsn(), "SELECT pg_sleep(30)")
    with running(client.run):
        until(lambda: gateway.session.begun)
        time.sleep(0.2)
        started = time.monotonic()
        gateway.call(lambda: gateway.session.ended.set_result("the credential was revoked"))
    assert time.monotonic() - started < 1
    assert "the credential was revoked" in str(client.error)
    until(lambda: not _active(direct, "pg_sleep"), 1)


def _active(direct: str, word: str) -> bool:
    with psycopg.connect(direct) as connection:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid() AND state = 'active'"
        )
        return bool(connection.execute(query, (f"%{word}%",)).fetchone()[0])  # type: ignore[index]


def test_a_session_ends_although_nobody_reads(gateway: RunningGateway, direct: str) -> None:
    connection = psycopg.connect(gateway.dsn())
    connection.pgconn.send_query(b"SELECT repeat('x', 1000) FROM generate_series(1, 1000000)")
    time.sleep(0.5)
    started = time.monotonic()
    gateway.call(lambda: gateway.session.ended.set_result("killed"))
    until(lambda: gateway.session.closed, 1)
    assert time.monotonic() - started < 1
    until(lambda: not _active(direct, "repeat('x', 1000)"), 1)
    connection.close()


def test_memory_stays_bounded_while_nobody_reads(gateway: RunningGateway) -> None:
    with psycopg.connect(gateway.dsn()) as connection:
        before = _memory()
        connection.pgconn.send_query(b"SELECT repeat('x', 1000) FROM generate_series(1, 300000)")
        time.sleep(1.5)
        assert _memory() - before < 32 * 1024
        rows = 0
        while result := _result(connection.pgconn):
            rows += result.ntuples
        assert rows == 300_000


def _result(pgconn: Any) -> Any:
    """Without blocking in C, where the gateway's thread could not run."""
    while pgconn.is_busy():
        select.select([pgconn.socket], [], [])
        pgconn.consume_input()
    return pgconn.get_result()


def _memory() -> int:
    """Resident kilobytes."""
    import re
    from pathlib import Path

    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


def test_a_target_that_dies_is_said_so(gateway: RunningGateway, direct: str) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as connection:
        connection.execute("SELECT 1")
        with psycopg.connect(direct, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s",
                (f"taskgate {gateway.session.id}%",),
            )
        with pytest.raises((errors.AdminShutdown, psycopg.OperationalError)):
            connection.execute("SELECT 1")
            connection.execute("SELECT 1")


def test_what_the_client_sends_ahead_is_bounded_and_its_leaving_noticed(gateway: RunningGateway, direct: str) -> None:
    """Beyond the bound the client is not read any more; that it has gone is noticed all the same."""
    connection = psycopg.connect(gateway.dsn(), autocommit=True).pgconn
    raw = socket.socket(fileno=__import__("os").dup(connection.socket))
    raw.setblocking(True)
    raw.settimeout(0.5)
    raw.sendall(b"Q" + (4 + 14).to_bytes(4, "big") + b"DELETE FROM t\0")
    until(lambda: gateway.gate.parked)
    query = b"SELECT '" + b"x" * 100_000 + b"'\0"
    try:
        for _ in range(300):
            raw.sendall(b"Q" + (4 + len(query)).to_bytes(4, "big") + query)
    except TimeoutError:
        pass
    else:
        pytest.fail("30 MB were taken ahead")
    raw.close()
    connection.finish()
    until(lambda: gateway.session.closed, 5)
    assert count(direct) == 10


__all__ = ["PASSWORD", "USER"]


def test_rows_that_are_recorded_wait_for_the_journal(gateway: RunningGateway) -> None:
    """A session whose rows the journal does not keep up with reads no more of them; nobody else waits."""
    caught_up = threading.Event()
    syncs = 0

    async def slow_sync() -> None:
        nonlocal syncs
        syncs += 1
        while not caught_up.is_set():
            await asyncio.sleep(0.01)
        session.behind = False

    bulk = psycopg.connect(gateway.dsn(), autocommit=True)
    other = psycopg.connect(gateway.dsn(), autocommit=True)
    session = gateway.gate.sessions[-2]
    gateway.gate.recording = RecordingLevel.RESULTS
    session.behind = True
    session.sync = slow_sync  # type: ignore[method-assign]
    rows: list[int] = []

    def read() -> None:
        rows.append(len(bulk.execute("SELECT repeat('x', 1000) FROM generate_series(1, 60000)").fetchall()))

    with running(read):
        until(lambda: syncs)
        time.sleep(0.2)
        held = sum(map(len, session.recorded_rows))
        assert held < 8 << 20
        for _ in range(20):
            other.execute("SELECT a FROM t")
        assert sum(map(len, session.recorded_rows)) == held, "it read on"
        caught_up.set()
    assert rows == [60_000]
    assert sum(map(len, session.recorded_rows)) > 60_000_000
    bulk.close()
    other.close()
