"""PG-06, PG-18, PG-19, PG-20: a target that breaks the protocol, wants the password, or answers what nobody asked."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from taskgate.domain import MaskKind, MaskRule
from taskgate.protocols.postgres import backend
from taskgate.protocols.postgres.backend import data_row, message, report, row_description
from taskgate.protocols.postgres.codec import INT32
from taskgate.protocols.postgres.fields import Field
from taskgate.protocols.postgres.frontend import SYNC, Bind, Execute, Parse, Query
from taskgate.protocols.postgres.scram import ServerExchange, Verifier
from tests.adversarial.pg import GREETING, TARGET_PASSWORD, FakeConnection, fake_target
from tests.servers.gate import USER, ScriptedMasks
from tests.servers.wire import Refusal, WireClient, kinds

Script = Callable[[FakeConnection], None]
SECRET = b"123-45-6789"
FIELDS = (Field(b"ssn", 0, 0, 25, -1, -1, 0), Field(b"n", 0, 0, 25, -1, -1, 0))
COMPLETE = message(b"C", b"SELECT 1\0")
ROW = data_row((SECRET, b"x"))


def answering(answer: bytes) -> Script:
    """Ready, then this in answer to the first Query."""

    def script(connection: FakeConnection) -> None:
        connection.ready()
        connection.until_sent(b"Q")
        connection.say(answer)
        connection.linger()

    return script


def expect_end(client: WireClient) -> list[tuple[bytes, bytes]]:
    """FATAL and closed; returns what came before."""
    seen = client.rest()
    assert Refusal.of(seen[-1]).severity == "FATAL", seen
    return seen[:-1]


def cell(*lengths: int, count: int | None = None) -> bytes:
    body = struct.pack(">h", len(lengths) if count is None else count)
    return message(b"D", body + b"".join(struct.pack(">i", length) + SECRET[: max(length, 0)] for length in lengths))


@pytest.mark.parametrize(
    "row",
    [
        cell(-2, 3),
        cell(11),
        cell(11, 1, 1),
        cell(11, 1, count=3),
        cell(2**31 - 1),
        cell(11, 1, count=-1),
        message(b"D"),
    ],
)
def test_pg_06_malformed_rows_of_a_masked_result_close(row: bytes) -> None:
    with fake_target(answering(row_description(FIELDS) + row + COMPLETE + backend.ready())) as (gateway, _):
        gateway.gate.masks = ScriptedMasks({}, {"us_ssn": MaskRule("us_ssn", MaskKind.REDACT)})
        with WireClient(gateway.port) as client:
            client.start()
            client.send(Query(b"SELECT 1, 2").encode())
            before = expect_end(client)
            assert SECRET not in b"".join(body for _, body in before)


BROKEN = {
    "an error without SQLSTATE": message(b"E", b"SERROR\0Mx\0\0"),
    "an error without message": message(b"E", b"SERROR\0CXX000\0\0"),
    "an error without severity": message(b"E", b"CXX000\0Mx\0\0"),
    "an error without end": message(b"E", b"SERROR\0CXX000\0Mx"),
    "an error with a field twice": message(b"E", b"SERROR\0CXX000\0Mx\0My\0\0"),
    "a notice without SQLSTATE": message(b"N", b"SNOTICE\0Mx\0\0"),
    "a tag without end": message(b"C", b"SELECT 1"),
    "a tag with two": message(b"C", b"SELECT 1\0x\0"),
    "a status that does not exist": message(b"Z", b"X"),
    "no status": message(b"Z"),
    "rows before their description": ROW,
    "an answer to Parse": message(b"1"),
    "an answer to Bind": message(b"2"),
    "authentication, again": backend.AUTHENTICATION_OK,
    "a demand for the password": message(b"R", INT32.pack(3)),
    "a function's result": message(b"V", INT32.pack(-1)),
    "a key": backend.backend_key(1, b"abcd"),
    "COPY both": message(b"W", b"\0\0\0"),
    "COPY in that nobody asked for": message(b"G", b"\0\0\0"),
    "COPY data out of the blue": message(b"d", SECRET),
    "an unknown type": message(b"?"),
    "a length below four": b"C\0\0\0\x03",
    "a length above the cap": b"C\x7f\xff\xff\xff",
    "pinned settings moved": backend.parameter_status("standard_conforming_strings", "off"),
    "another encoding": backend.parameter_status("client_encoding", "SJIS"),
    "too many statements": message(b"C", b"SELECT 0\0") * 2,
    "too few statements": backend.ready(),
    "two errors": report("ERROR", "XX000", "x").encode(b"E") * 2,
    "nothing, closed": b"",
}


@pytest.mark.parametrize("name", BROKEN)
def test_pg_06_a_broken_answer_closes(name: str) -> None:
    broken = BROKEN[name]

    def script(connection: FakeConnection) -> None:
        connection.ready()
        connection.until_sent(b"Q")
        connection.say(broken)
        if broken:
            connection.linger()

    masked = name == "rows before their description"
    with fake_target(script) as (gateway, _):
        if masked:
            gateway.gate.masks = ScriptedMasks({}, {"us_ssn": MaskRule("us_ssn", MaskKind.REDACT)})
        with WireClient(gateway.port) as client:
            client.start()
            client.send(Query(b"SELECT 1").encode())
            seen = expect_end(client)
        assert SECRET not in b"".join(body for _, body in seen)
        assert gateway.session.closed is not None
        assert gateway.session.begun[0].outcome.error is not None


@pytest.mark.parametrize("surplus", [backend.ready(), COMPLETE, ROW, report("ERROR", "XX000", "x").encode(b"E")])
def test_pg_20_an_answer_that_nobody_asked_for_closes(surplus: bytes) -> None:
    """Bytes of another session, or left over from one."""

    def script(connection: FakeConnection) -> None:
        connection.ready()
        connection.until_sent(b"Q")
        connection.say(row_description(FIELDS) + COMPLETE + backend.ready() + surplus)
        connection.linger()

    with fake_target(script) as (gateway, _), WireClient(gateway.port) as client:
        client.start()
        client.send(Query(b"SELECT 1, 2").encode())
        seen = expect_end(client)
        assert SECRET not in b"".join(body for _, body in seen)


def test_pg_20_answers_out_of_order_close() -> None:
    def script(connection: FakeConnection) -> None:
        connection.ready()
        connection.until_sent(b"S")
        connection.say(message(b"2") + message(b"1") + COMPLETE + backend.ready())
        connection.linger()

    with fake_target(script) as (gateway, _), WireClient(gateway.port) as client:
        client.start()
        client.send(Parse(b"", b"SELECT 1").encode() + Bind(b"", b"").encode() + Execute(b"").encode() + SYNC)
        assert expect_end(client) == []


def test_pg_20_a_target_that_starts_talking_early_is_refused() -> None:
    def script(connection: FakeConnection) -> None:
        connection.startup()
        connection.authenticate()
        key = backend.backend_key(42, INT32.pack(4711))
        connection.say(backend.AUTHENTICATION_OK + GREETING + key + backend.ready() + ROW)
        connection.linger()

    with fake_target(script) as (gateway, _), WireClient(gateway.port) as client:
        with pytest.raises(AssertionError, match="went on talking"):
            client.start()


# --- authentication ---


def mechanisms(body: bytes) -> Script:
    def script(connection: FakeConnection) -> None:
        connection.startup()
        connection.say(body)
        connection.linger()

    return script


@pytest.mark.parametrize(
    "demand",
    [
        backend.authentication(3), backend.authentication(5, b"salt"), backend.authentication(0),
        backend.authentication(7), backend.authentication(9), backend.authentication(2),
        backend.authentication(10, b"SCRAM-SHA-1\0\0"), backend.authentication(10, b"\0"),
        backend.authentication(10, b"SCRAM-SHA-256"), backend.authentication(10, b"SCRAM-SHA-256-PLUS\0\0"),
        backend.authentication(11, b"r=x"), backend.authentication(12, b"v=x"), message(b"R", b"\0"),
        backend.ready(), GREETING,
    ],
)  # fmt: skip
def test_pg_19_no_demand_gets_the_brokered_secret(demand: bytes) -> None:
    with fake_target(mechanisms(demand)) as (gateway, target):
        with WireClient(gateway.port) as client, pytest.raises(AssertionError, match="FATAL|closed"):
            client.start()
        assert TARGET_PASSWORD.encode() not in target.heard
        assert b"p" + b"\0" not in target.heard[60:], "no password message at all"


def exchange_with(change: Callable[[bytes], bytes]) -> Script:
    """An exchange whose server-first-message has been tampered with."""

    def script(connection: FakeConnection) -> None:
        connection.startup()
        exchange = ServerExchange(Verifier.of(TARGET_PASSWORD), known=True)
        connection.say(backend.authentication(10, b"SCRAM-SHA-256\0\0"))
        _, body = connection.message()
        connection.say(backend.authentication(11, change(exchange.first("SCRAM-SHA-256", body.split(b"\0", 1)[1][4:]))))
        connection.linger()

    return script


@pytest.mark.parametrize(
    "change",
    [
        lambda first: b"r=" + first[10:],
        lambda first: b"r=other," + first.split(b",", 1)[1],
        lambda first: first.split(b",")[0][:26] + b",s=QUJD,i=4096",
        lambda first: first.replace(b"i=4096", b"i=2000000000"),
        lambda first: first.replace(b"i=4096", b"i=200001"),
        lambda first: first.replace(b"i=4096", b"i=0"),
        lambda first: first.replace(b"i=4096", b"i=-1"),
        lambda first: first.replace(b"i=4096", b"i=x"),
        lambda first: first.split(b",s=")[0] + b",s=,i=4096",
        lambda first: first.split(b",s=")[0] + b",s=!!!!,i=4096",
        lambda first: b"e=other-error",
        lambda first: b"",
        lambda first: first.replace(b"r=", b"r=" + b"x" * 100_000),
        lambda first: b"m=ext," + first,
    ],
)
def test_pg_18_a_tampered_exchange_is_refused(change: Callable[[bytes], bytes]) -> None:
    with fake_target(exchange_with(change)) as (gateway, target):
        with WireClient(gateway.port) as client, pytest.raises(AssertionError, match="FATAL|closed"):
            client.start()
        assert b",p=" not in target.heard, "no proof is given"


def test_pg_18_a_target_that_does_not_know_the_password_is_refused() -> None:
    def script(connection: FakeConnection) -> None:
        connection.startup()
        connection.say(backend.authentication(10, b"SCRAM-SHA-256\0\0"))
        _, body = connection.message()
        exchange = ServerExchange(Verifier.of("a guess"), known=True)
        connection.say(backend.authentication(11, exchange.first("SCRAM-SHA-256", body.split(b"\0", 1)[1][4:])))
        connection.message()
        connection.say(backend.authentication(12, b"v=" + b"A" * 43 + b"="))
        connection.say(backend.AUTHENTICATION_OK + GREETING + backend.ready())
        connection.linger()

    with fake_target(script) as (gateway, _), WireClient(gateway.port) as client:
        with pytest.raises(AssertionError, match="did not prove"):
            client.start()


def test_pg_18_a_target_that_skips_its_proof_is_refused() -> None:
    def script(connection: FakeConnection) -> None:
        connection.startup()
        connection.say(backend.authentication(10, b"SCRAM-SHA-256\0\0"))
        _, body = connection.message()
        exchange = ServerExchange(Verifier.of(TARGET_PASSWORD), known=True)
        connection.say(backend.authentication(11, exchange.first("SCRAM-SHA-256", body.split(b"\0", 1)[1][4:])))
        connection.message()
        connection.say(backend.AUTHENTICATION_OK + GREETING + backend.ready())
        connection.linger()

    with fake_target(script) as (gateway, _), WireClient(gateway.port) as client:
        with pytest.raises(AssertionError, match="did not finish"):
            client.start()


def test_pg_18_an_error_of_the_target_names_no_address() -> None:
    def script(connection: FakeConnection) -> None:
        connection.startup()
        connection.say(report("FATAL", "28P01", 'password authentication failed for user "postgres"').encode(b"E"))
        connection.linger()

    with fake_target(script) as (gateway, target), WireClient(gateway.port) as client:
        with pytest.raises(AssertionError) as caught:
            client.start()
        assert "orders-db" in str(caught.value)
        assert str(target.port) not in str(caught.value)
        assert "28P01" not in str(caught.value), "the client's own password is fine"


@pytest.mark.parametrize("user", [USER, "tg_unknown"])
def test_pg_18_a_wrong_password_and_an_unknown_user_look_the_same(user: str) -> None:
    with fake_target(lambda connection: None) as (gateway, _):
        salts = []
        for _ in range(2):
            with WireClient(gateway.port) as client:
                from taskgate.protocols.postgres import frontend, startup

                client.send(startup.startup_message({"user": user}))
                client.message()
                first = b"n,,n=,r=abcdefghijklmnopqrstuvwx"
                client.send(frontend.password(b"SCRAM-SHA-256\0" + struct.pack(">I", len(first)) + first))
                _, body = client.message()
                parts = dict(part.split(b"=", 1) for part in body[4:].split(b","))
                salts.append((parts[b"s"], parts[b"i"]))
                assert parts[b"i"] == b"4096"
                final = b"c=biws,r=" + parts[b"r"] + b",p=" + b"A" * 43 + b"="
                client.send(frontend.password(final))
                refusal = Refusal.of(client.message())
                assert (refusal.severity, refusal.sqlstate) == ("FATAL", "28P01")
                assert refusal.text == f'password authentication failed for user "{user}"'
                assert client.closed()
        assert salts[0] == salts[1]
        assert len(gateway.gate.failures) == 2


@pytest.mark.parametrize(
    "first",
    [
        b"", b"n,,", b"n,,n=", b"y", b"n,a=other,n=,r=abcdefghijkl", b"n,,n=,r=", b"n,,n=,r=a b c d e f",
        b"n,,n=,r=" + b"x" * 3000, b"p=tls-unique,,n=,r=abcdefghijkl", b"p=tls-server-end-point,,n=,r=abcdefghijkl",
        b"\xff\xfe", b"n,,m=x,n=,r=abcdefghijkl",
    ],
)  # fmt: skip
def test_pg_18_a_malformed_client_exchange_closes(first: bytes) -> None:
    from taskgate.protocols.postgres import frontend, startup

    with fake_target(lambda connection: None) as (gateway, _), WireClient(gateway.port) as client:
        client.send(startup.startup_message({"user": USER}))
        client.message()
        client.send(frontend.password(b"SCRAM-SHA-256\0" + struct.pack(">I", len(first)) + first))
        assert Refusal.of(client.message()).severity == "FATAL"
        assert client.closed()


def test_pg_18_an_oversized_password_message_closes() -> None:
    from taskgate.protocols.postgres import startup

    with fake_target(lambda connection: None) as (gateway, _), WireClient(gateway.port) as client:
        client.send(startup.startup_message({"user": USER}))
        client.message()
        client.send(b"p\x00\x10\x00\x00")
        assert Refusal.of(client.message()).severity == "FATAL"
        assert client.closed()


def test_pg_06_a_good_target_is_served() -> None:
    """The fake is believed when it behaves, so that the cases above fail for their own reasons."""
    answer = row_description(FIELDS) + ROW + COMPLETE + backend.ready()
    with fake_target(answering(answer)) as (gateway, _), WireClient(gateway.port) as client:
        client.start()
        assert kinds(client.query("SELECT 1, 2")) == "TDCZ"
