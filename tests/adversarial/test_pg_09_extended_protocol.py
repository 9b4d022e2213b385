"""PG-09, PG-10, PG-11, PG-15: the extended protocol's corners, FunctionCall, COPY, and transactions that wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.protocols.postgres import frontend
from taskgate.protocols.postgres.codec import message
from taskgate.protocols.postgres.frontend import COPY_DONE, FLUSH, SYNC, Bind, Execute, Parse, Query
from tests.servers.gate import ScriptedGate, loopback_target
from tests.servers.gateway import RunningGateway, running_gateway
from tests.servers.wire import Refusal, WireClient, kinds

DELETE = b"DELETE FROM attacked WHERE a = $1"


@pytest.fixture
def gateway(postgres18: PostgresServer) -> Iterator[RunningGateway]:
    with psycopg.connect(postgres18.dsn(), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS attacked; CREATE TABLE attacked AS SELECT generate_series(1, 10) AS a")
    gate = ScriptedGate(loopback_target(postgres18.port), postgres18.password)
    gate.approve = lambda action: "DELETE" in action.text
    gate.deny = lambda action: "forbidden" if "TRUNCATE" in action.text else None
    with running_gateway(gate) as running:
        yield running


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[WireClient]:
    with WireClient(gateway.port) as connected:
        connected.start()
        yield connected


@pytest.fixture
def count(postgres18: PostgresServer) -> Callable[[], int]:
    def counted() -> int:
        with psycopg.connect(postgres18.dsn()) as connection:
            return int(connection.execute("SELECT count(*) FROM attacked").fetchone()[0])  # type: ignore[index]

    return counted


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def decide(gateway: RunningGateway, which: int, approved: bool = True) -> Any:
    until(lambda: len(gateway.gate.parked) > which)
    gateway.call(lambda: gateway.gate.parked[which][1].set_result(approved))
    return gateway.gate.parked[which][0]


def error(messages: list[tuple[bytes, bytes]]) -> Refusal:
    return Refusal.of(next(each for each in messages if each[0] == b"E"))


def bind(value: bytes, portal: bytes = b"", statement: bytes = b"s") -> bytes:
    return Bind(portal, statement, (), (value,)).encode()


def test_pg_09_an_approval_is_bound_to_the_parameters_of_its_execution(
    gateway: RunningGateway, client: WireClient, count: Any
) -> None:
    client.send(Parse(b"s", DELETE, (23,)).encode() + SYNC)
    assert kinds(client.until()) == "1Z"
    for turn, value in enumerate((b"1", b"2")):
        client.send(bind(value) + Execute(b"").encode() + SYNC)
        action = decide(gateway, turn)
        assert (action.text, action.parameters[0].value, action.parameter_types) == (DELETE.decode(), value, (23,))
        assert kinds(client.until()) == "N2CZ"
    assert count() == 8


def test_pg_09_two_portals_are_two_judgements(gateway: RunningGateway, client: WireClient, count: Any) -> None:
    client.send(Parse(b"s", DELETE, (23,)).encode() + bind(b"1", b"one") + bind(b"2", b"two"))
    client.send(Execute(b"two").encode() + Execute(b"one").encode() + SYNC)
    assert decide(gateway, 0).parameters[0].value == b"2"
    assert decide(gateway, 1, approved=False).parameters[0].value == b"1"
    assert error(client.until()).sqlstate == "42501"
    assert count() == 10, "the first is rolled back with the implicit transaction of both"


def test_pg_09_a_replaced_statement_is_judged_for_what_it_is(gateway: RunningGateway, client: WireClient) -> None:
    client.send(Parse(b"", b"SELECT 1").encode() + SYNC + Parse(b"", b"TRUNCATE attacked").encode() + SYNC)
    client.send(Bind(b"", b"").encode() + Execute(b"").encode() + SYNC)
    assert kinds(client.until()) == "1Z"
    assert error(client.until()).text == "taskgate: forbidden"
    assert error(client.until()).sqlstate == "26000", "the unnamed statement is gone, as after any failed Parse"


def test_pg_09_a_name_that_was_refused_does_not_come_to_exist(gateway: RunningGateway, client: WireClient) -> None:
    client.send(Parse(b"s", b"TRUNCATE attacked").encode() + SYNC)
    client.send(Bind(b"", b"s").encode() + Execute(b"").encode() + SYNC)
    assert error(client.until()).text == "taskgate: forbidden"
    assert error(client.until()).sqlstate == "26000"


def test_pg_09_parse_over_a_live_name_changes_nothing(gateway: RunningGateway, client: WireClient) -> None:
    """The target refuses to replace a named statement; the gateway must not believe that it did."""
    client.send(Parse(b"s", b"SELECT 'first'").encode() + SYNC)
    client.send(Parse(b"s", b"SELECT 'second'").encode() + Bind(b"", b"s").encode() + Execute(b"").encode() + SYNC)
    client.send(Bind(b"", b"s").encode() + Execute(b"").encode() + SYNC)
    assert kinds(client.until()) == "1Z"
    assert error(client.until()).sqlstate == "42P05"
    assert b"first" in dict(client.until())[b"D"]
    assert gateway.session.begun[-1].action.text == "SELECT 'first'"


def test_pg_09_close_and_parse_again(gateway: RunningGateway, client: WireClient) -> None:
    client.send(Parse(b"s", b"SELECT 'first'").encode() + frontend.close(b"S", b"s"))
    client.send(Parse(b"s", b"SELECT 'second'").encode() + Bind(b"", b"s").encode() + Execute(b"").encode() + SYNC)
    seen = client.until()
    assert kinds(seen) == "1312DCZ"
    assert b"second" in dict(seen)[b"D"]


def test_pg_09_an_error_undoes_what_was_sent_behind_it(gateway: RunningGateway, client: WireClient) -> None:
    client.send(Parse(b"keep", b"SELECT 'kept'").encode() + SYNC)
    client.send(Parse(b"broken", b"SELECT * FROM nowhere").encode() + frontend.close(b"S", b"keep"))
    client.send(Parse(b"never", b"SELECT 1").encode() + Bind(b"", b"never").encode() + Execute(b"").encode() + SYNC)
    client.send(Bind(b"", b"keep").encode() + Execute(b"").encode() + SYNC)
    client.send(Bind(b"", b"never").encode() + Execute(b"").encode() + SYNC)
    assert kinds(client.until()) == "1Z"
    assert kinds(client.until()) == "EZ"
    assert b"kept" in dict(client.until())[b"D"]
    assert error(client.until()).sqlstate == "26000"
    assert all(begun.outcome is not None for begun in gateway.session.begun)


def test_pg_09_describe_only_executes_nothing(gateway: RunningGateway, client: WireClient, count: Any) -> None:
    client.send(Parse(b"s", DELETE, (23,)).encode() + frontend.describe(b"S", b"s") + SYNC)
    assert kinds(client.until()) == "1tnZ"
    assert not gateway.session.begun
    assert not gateway.gate.parked
    assert count() == 10


def test_pg_09_row_limits(gateway: RunningGateway, client: WireClient) -> None:
    client.send(Parse(b"", b"SELECT generate_series(1, 5)").encode() + Bind(b"c", b"").encode())
    client.send(Execute(b"c", 2).encode() + Execute(b"c", 2).encode() + Execute(b"c", 2).encode() + SYNC)
    assert kinds(client.until()) == "12DDsDDsDCZ"
    assert [begun.outcome.rows for begun in gateway.session.begun] == [2, 2, 1]


def test_pg_09_a_portal_that_goes_on_is_not_asked_about_again(gateway: RunningGateway, client: WireClient) -> None:
    client.send(Parse(b"", b"DELETE FROM attacked RETURNING a").encode() + Bind(b"c", b"").encode())
    client.send(Execute(b"c", 4).encode() + Execute(b"c", 4).encode() + Execute(b"c", 4).encode() + SYNC)
    decide(gateway, 0)
    assert kinds(client.until()) == "N12DDDDsDDDDsDDCZ"
    assert len(gateway.gate.parked) == 1


def test_pg_09_flush_gets_its_answers_without_sync(client: WireClient) -> None:
    client.send(Parse(b"", b"SELECT 1").encode() + Bind(b"", b"").encode() + Execute(b"").encode() + FLUSH)
    assert kinds(client.until(b"C")) == "12DC"
    client.send(SYNC)
    assert kinds(client.until()) == "Z"


def test_pg_09_many_pipelined(client: WireClient) -> None:
    batch = bind(b"7") + frontend.describe(b"P", b"") + Execute(b"").encode() + SYNC
    client.send(Parse(b"s", b"SELECT $1::int", (23,)).encode() + SYNC + batch * 500)
    assert kinds(client.until()) == "1Z"
    for _ in range(500):
        assert kinds(client.until()) == "2TDCZ"


@pytest.mark.parametrize("kind", [b"S", b"P"])
def test_pg_09_closing_what_does_not_exist_is_fine(client: WireClient, kind: bytes) -> None:
    client.send(frontend.close(kind, b"nothing") + SYNC)
    assert kinds(client.until()) == "3Z"


def test_pg_09_several_statements_cannot_be_prepared(client: WireClient) -> None:
    client.send(Parse(b"", b"SELECT 1; SELECT 2").encode() + SYNC)
    assert error(client.until()).sqlstate == "42601"


def test_pg_09_the_next_session_does_not_see_names(gateway: RunningGateway, client: WireClient) -> None:
    client.send(Parse(b"s", b"SELECT 1").encode() + SYNC)
    client.until()
    with WireClient(gateway.port) as other:
        other.start()
        other.send(Bind(b"", b"s").encode() + SYNC)
        assert error(other.until()).sqlstate == "26000"


def test_pg_10_function_call_is_refused_as_an_error_of_the_server(gateway: RunningGateway, client: WireClient) -> None:
    client.query("BEGIN")
    client.send(message(b"F", b"\x00\x00\x05\x25\x00\x00\x00\x00\x00\x00"))
    seen = client.until()
    assert (kinds(seen), seen[-1][1]) == ("EZ", b"E")
    assert error(seen).sqlstate == "42501"
    assert ("function_call_refused", {}) in gateway.session.events
    assert dict(client.query("ROLLBACK"))[b"Z"] == b"I"


def test_pg_11_copy_data_out_of_place_is_ignored(client: WireClient) -> None:
    client.send(message(b"d", b"1\n") + COPY_DONE + message(b"f", b"x\0") + Query(b"SELECT 1").encode())
    assert kinds(client.until()) == "TDCZ"


def test_pg_11_sync_and_flush_inside_copy_are_not_answered(client: WireClient, count: Any) -> None:
    client.send(
        Parse(b"", b"COPY attacked FROM STDIN").encode() + Bind(b"", b"").encode() + Execute(b"").encode() + SYNC
    )
    assert kinds(client.until(b"G")) == "12G"
    client.send(message(b"d", b"11\n") + SYNC + FLUSH + message(b"d", b"12\n") + COPY_DONE + SYNC)
    assert kinds(client.until()) == "CZ"
    assert count() == 12


def test_pg_11_broken_data_and_what_follows(client: WireClient, count: Any) -> None:
    client.send(
        Parse(b"", b"COPY attacked FROM STDIN").encode() + Bind(b"", b"").encode() + Execute(b"").encode() + SYNC
    )
    client.until(b"G")
    client.send(message(b"d", b"x\n") * 2000 + COPY_DONE + SYNC + Query(b"SELECT 1").encode())
    assert kinds(client.until()) == "EZ"
    assert kinds(client.until()) == "TDCZ"
    assert count() == 10


def test_pg_11_a_query_inside_copy_closes(gateway: RunningGateway, client: WireClient, count: Any) -> None:
    client.send(Query(b"COPY attacked FROM STDIN").encode())
    assert client.message()[0] == b"G"
    client.send(message(b"d", b"11\n") + Query(b"SELECT 1").encode())
    refusal = Refusal.of(client.rest()[0])
    assert (refusal.severity, refusal.sqlstate) == ("FATAL", "08P01")
    until(lambda: gateway.session.closed)
    assert count() == 10


def test_pg_11_several_copies_in_one_text(client: WireClient, count: Any) -> None:
    client.send(Query(b"COPY attacked FROM STDIN; SELECT 1; COPY attacked FROM STDIN").encode())
    data = message(b"d", b"11\n") + COPY_DONE
    assert client.message()[0] == b"G"
    client.send(data + data + Query(b"SELECT 2").encode())
    assert kinds(client.until()) == "CTDCGCZ"
    assert kinds(client.until()) == "TDCZ"
    assert count() == 12


def test_pg_11_data_of_a_copy_that_was_refused_goes_nowhere(
    gateway: RunningGateway, client: WireClient, count: Any
) -> None:
    gateway.gate.deny = lambda action: "no streams" if action.streams else None
    client.send(Query(b"COPY attacked FROM STDIN").encode() + message(b"d", b"11\n") + COPY_DONE)
    assert kinds(client.until()) == "EZ"
    assert kinds(client.query("SELECT 1")) == "TDCZ"
    assert count() == 10


def test_pg_15_a_target_that_dies_while_a_statement_is_parked(
    gateway: RunningGateway, client: WireClient, count: Any, postgres18: PostgresServer
) -> None:
    client.query("BEGIN")
    client.query("SELECT 1")
    client.send(Query(b"DELETE FROM attacked").encode())
    until(lambda: gateway.gate.parked)
    with psycopg.connect(postgres18.dsn(), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s",
            (f"taskgate {gateway.session.id}%",),
        )
    assert Refusal.of(client.rest()[-1]).severity == "FATAL"
    until(lambda: gateway.session.closed)
    assert gateway.session.withdrawn == 1
    assert count() == 10


def test_pg_15_two_phase_and_savepoints_are_judged_like_anything_else(
    gateway: RunningGateway, client: WireClient
) -> None:
    gateway.gate.deny = lambda action: "no" if "PREPARE TRANSACTION" in action.text else None
    client.query("BEGIN")
    client.query("SAVEPOINT a")
    assert error(client.query("PREPARE TRANSACTION 'x'")).sqlstate == "42501"
    assert dict(client.query("ROLLBACK TO a"))[b"Z"] == b"T"
    assert dict(client.query("COMMIT"))[b"Z"] == b"I"


def test_pg_15_an_approval_after_the_hold_executes_nothing(
    gateway: RunningGateway, client: WireClient, count: Any
) -> None:
    gateway.gate.hold = 0.2
    assert error(client.query("DELETE FROM attacked")).sqlstate == "42501"
    gateway.call(lambda: gateway.gate.parked[0][1].done() or gateway.gate.parked[0][1].set_result(True))
    client.query("SELECT 1")
    assert count() == 10


def test_pg_15_a_revoked_credential_ends_a_parked_statement(
    gateway: RunningGateway, client: WireClient, count: Any
) -> None:
    client.send(Query(b"DELETE FROM attacked").encode())
    until(lambda: gateway.gate.parked)
    started = time.monotonic()
    gateway.call(lambda: gateway.session.ended.set_result("revoked"))
    assert Refusal.of(client.rest()[-1]).sqlstate == "57P01"
    assert time.monotonic() - started < 1
    assert count() == 10


def test_pg_09_a_batch_that_is_known_does_not_change_what_a_name_means(
    gateway: RunningGateway, client: WireClient, count: Any
) -> None:
    """A DELETE is parsed as the unnamed statement while something harmless is bound, again and again: whoever runs the
    unnamed statement then runs the DELETE, and a human is asked."""
    client.send(Parse(b"harmless", b"SELECT a FROM attacked WHERE a = 1").encode() + SYNC)
    assert kinds(client.until()) == "1Z"
    everything = b"DELETE FROM attacked"
    for _ in range(5):
        client.send(Parse(b"", everything).encode() + Bind(b"", b"harmless").encode() + Execute(b"").encode() + SYNC)
        assert kinds(client.until()) == "12DCZ"
    client.send(Bind(b"", b"").encode() + Execute(b"").encode() + SYNC)
    assert decide(gateway, 0, approved=False).text == everything.decode()
    client.until()
    assert count() == 10
    client.send(frontend.close(b"S", b"harmless") + Parse(b"harmless", everything).encode() + SYNC)
    client.until()
    client.send(Parse(b"", everything).encode() + Bind(b"", b"harmless").encode() + Execute(b"").encode() + SYNC)
    assert decide(gateway, 1, approved=False).text == everything.decode()
    client.until()
    assert count() == 10
