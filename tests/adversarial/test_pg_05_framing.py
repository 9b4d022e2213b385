"""PG-05: lengths that lie, types that do not exist, streams cut anywhere."""

from __future__ import annotations

import resource
import struct
from collections.abc import Iterator

import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.protocols.postgres import frontend
from taskgate.protocols.postgres.frontend import FLUSH, SYNC, Bind, Execute, Parse, Query
from taskgate.protocols.postgres.limits import Limits
from tests.servers.gate import ScriptedGate, loopback_target
from tests.servers.gateway import RunningGateway, running_gateway
from tests.servers.wire import Refusal, WireClient, kinds


@pytest.fixture
def gateway(postgres18: PostgresServer) -> Iterator[RunningGateway]:
    gate = ScriptedGate(loopback_target(postgres18.port), postgres18.password)
    with running_gateway(gate, limits=Limits(message=1024 * 1024)) as running:
        yield running


def expect_end(gateway: RunningGateway, client: WireClient) -> None:
    refusal = Refusal.of(client.message())
    assert (refusal.severity, refusal.sqlstate) == ("FATAL", "08P01")
    assert client.closed()
    assert any(kind == "session_broken" for kind, _ in gateway.session.events)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 2**31, 2**32 - 1, 2**31 - 1, 1024 * 1024 + 1])
def test_pg_05_an_impossible_length_closes_and_allocates_nothing(gateway: RunningGateway, length: int) -> None:
    with WireClient(gateway.port) as client:
        client.start()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        client.send(b"Q" + struct.pack(">I", length) + b"SELECT 1\0")
        expect_end(gateway, client)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


def test_pg_05_length_below_four_closes(gateway: RunningGateway) -> None:
    with WireClient(gateway.port) as client:
        client.start()
        client.send(SYNC + b"S\0\0\0\x03" + SYNC)
        expect_end(gateway, client)


def test_pg_05_other_sessions_go_on(gateway: RunningGateway) -> None:
    with WireClient(gateway.port) as other, WireClient(gateway.port) as client:
        other.start()
        client.start()
        client.send(b"Q\xff\xff\xff\xff")
        expect_end(gateway, client)
        assert dict(other.query("SELECT 1"))[b"C"] == b"SELECT 1\0"


@pytest.mark.parametrize("kind", sorted(set(range(256)) - set(b"QPBDECHSXFdcf")))
def test_pg_05_an_unknown_type_closes(gateway: RunningGateway, kind: int) -> None:
    with WireClient(gateway.port) as client:
        client.start()
        client.send(bytes((kind,)) + b"\0\0\0\x04")
        expect_end(gateway, client)


@pytest.mark.parametrize(
    "message",
    [
        b"Q\0\0\0\x04",
        b"Q\0\0\0\x05x",
        b"Q\0\0\0\x07x\0y",
        b"P\0\0\0\x04",
        b"P\0\0\0\x08\0\0\0\x05",
        b"P\0\0\0\x08\0\0\xff\xff",
        b"P\0\0\0\x09\0\0\0\0x",
        b"B\0\0\0\x04",
        b"B\0\0\0\x0a\0\0\0\0\0\x01",
        b"B\0\0\0\x10\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0",
        b"B\0\0\0\x0e\0\0\0\x01\0\x07\0\0\0\0",
        b"B\0\0\0\x0c\0\0\0\0\x7f\xff\0\0",
        b"D\0\0\0\x04",
        b"D\0\0\0\x06X\0",
        b"D\0\0\0\x06S\0"[:-1] + b"x",
        b"E\0\0\0\x04",
        b"E\0\0\0\x0a\0\0\0\0\0\0",
        b"C\0\0\0\x06Q\0",
        b"S\0\0\0\x05\0",
        b"H\0\0\0\x05\0",
        b"X\0\0\0\x05\0",
    ],
)
def test_pg_05_a_malformed_body_closes(gateway: RunningGateway, message: bytes) -> None:
    with WireClient(gateway.port) as client:
        client.start()
        client.send(message)
        expect_end(gateway, client)


CONVERSATION = b"".join(
    (
        Query(b"SELECT 1; SELECT 'two', NULL").encode(),
        Parse(b"s", b"SELECT $1::int + 1", (23,)).encode(),
        frontend.describe(b"S", b"s"),
        Bind(b"p", b"s", (0,), (b"41",), (0,)).encode(),
        frontend.describe(b"P", b"p"),
        Execute(b"p").encode(),
        FLUSH,
        frontend.close(b"S", b"s"),
        SYNC,
    )
)
ANSWERS = "TDCTDCZ1tT2TDC3Z"


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_pg_05_split_at_every_byte(gateway: RunningGateway, step: int) -> None:
    with WireClient(gateway.port) as client:
        client.start()
        if step == 0:
            for cut in range(1, len(CONVERSATION)):
                client.send(CONVERSATION[:cut])
                client.send(CONVERSATION[cut:])
                assert kinds(client.until() + client.until()) == ANSWERS
        else:
            for start in range(0, len(CONVERSATION), step):
                client.send(CONVERSATION[start : start + step])
            assert kinds(client.until() + client.until()) == ANSWERS


def test_pg_05_a_large_message_within_the_cap_passes(gateway: RunningGateway) -> None:
    with WireClient(gateway.port) as client:
        client.start()
        text = b"SELECT length('" + b"x" * 900_000 + b"')"
        client.send(Query(text).encode())
        assert b"900000" in dict(client.until())[b"D"]
