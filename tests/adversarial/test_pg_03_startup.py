"""PG-03: startup packets that are malformed, or ask for more than a client may have."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Iterator

import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.errors import AuthenticationFault
from taskgate.protocols.postgres import startup
from tests.adversarial.pg import FakeConnection, fake_target
from tests.servers.gate import USER, ScriptedGate, loopback_target
from tests.servers.gateway import RunningGateway, running_gateway
from tests.servers.wire import Refusal, WireClient, kinds


@pytest.fixture
def gateway(postgres18: PostgresServer) -> Iterator[RunningGateway]:
    gate = ScriptedGate(loopback_target(postgres18.port), postgres18.password)
    with running_gateway(gate) as running:
        yield running


def packet(body: bytes, version: int = startup.PROTOCOL_3_0, length: int | None = None) -> bytes:
    return struct.pack(">II", len(body) + 8 if length is None else length, version) + body


@pytest.mark.parametrize("length", [0, 4, 7, 10_001, 2**31 - 1, 2**32 - 1])
def test_pg_03_an_impossible_length_closes(gateway: RunningGateway, length: int) -> None:
    with WireClient(gateway.port) as client:
        client.send(packet(b"user\0x\0\0", length=length))
        assert Refusal.of(client.message()).text == "invalid length of startup packet"
        assert client.closed()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"user\0tg_test",
        b"user\0tg_test\0",
        b"user\0\0",
        b"user\0tg_test\0database\0\0",
        b"user\0tg_test\0user\0postgres\0\0",
        b"user\0tg_test\0\0trailing\0",
        b"user\0\xff\xfe\0\0",
        b"\0value\0\0",
    ],
)
def test_pg_03_a_malformed_packet_closes(gateway: RunningGateway, body: bytes) -> None:
    with WireClient(gateway.port) as client:
        client.send(packet(body))
        if body == b"user\0tg_test\0":
            pass  # one NUL short: no terminator
        assert Refusal.of(client.message()).severity == "FATAL"
        assert client.closed()
    assert gateway.gate.malformations


@pytest.mark.parametrize("version", [2 << 16, 99 << 16, 0, 4 << 16, (1 << 16) | 3])
def test_pg_03_another_protocol_closes(gateway: RunningGateway, version: int) -> None:
    with WireClient(gateway.port) as client:
        client.send(packet(b"user\0tg_test\0\0", version=version))
        assert "unsupported frontend protocol" in Refusal.of(client.message()).text
        assert client.closed()


@pytest.mark.parametrize(
    ("minor", "parameters", "unknown"),
    [(3, {}, 0), (99, {}, 0), (0, {"_pq_.something": "1"}, 1), (2, {"_pq_.a": "1", "_pq_.b": ""}, 2)],
)
def test_pg_03_newer_versions_are_negotiated(
    gateway: RunningGateway, minor: int, parameters: dict[str, str], unknown: int
) -> None:
    with WireClient(gateway.port) as client:
        client.send(startup.startup_message({"user": USER, **parameters}, minor))
        kind, body = client.message()
        assert kind == b"v"
        assert struct.unpack(">II", body[:8]) == (startup.PROTOCOL_3_0 | min(minor, 2), unknown)
        assert kinds(client.authenticate())[-1] == "Z"


@pytest.mark.parametrize(
    "parameters",
    [
        {"replication": "1"},
        {"replication": "database"},
        {"replication": "true"},
        {"role": "postgres"},
        {"session_authorization": "postgres"},
        {"default_transaction_read_only": "off"},
        {"standard_conforming_strings": "off"},
        {"client_encoding": "SJIS"},
        {"client_encoding": "LATIN1"},
        {"session_preload_libraries": "x"},
        {"options": "-c role=postgres"},
        {"options": "-crole=postgres"},
        {"options": "--role=postgres"},
        {"options": "-c standard_conforming_strings=off"},
        {"options": "-d 5"},
        {"options": "-c"},
        {"options": "-c nonsense"},
        {"options": "-c\\ role=x"},
        {"ROLE": "postgres"},
        {"options": "-c default-transaction-read-only=off"},
        {"backslash_quote": "on"},
    ],
)
def test_pg_03_what_is_not_carried_is_refused(gateway: RunningGateway, parameters: dict[str, str]) -> None:
    with WireClient(gateway.port) as client:
        client.send(startup.startup_message({"user": USER, **parameters}))
        refusal = Refusal.of(client.message())
        assert refusal.severity == "FATAL"
        assert "refused" in refusal.text
        assert client.closed()
    assert not gateway.gate.sessions


@pytest.mark.parametrize(
    "parameters",
    [
        {"application_name": "me"},
        {"client_encoding": "utf-8"},
        {"client_encoding": "'utf-8'"},
        {"DateStyle": "ISO"},
        {"options": "-c search_path=public -c statement_timeout=5s"},
        {"options": "-c geqo=off"},
        {"replication": "false"},
    ],
)
def test_pg_03_what_is_carried_passes(gateway: RunningGateway, parameters: dict[str, str]) -> None:
    with WireClient(gateway.port) as client:
        assert kinds(client.start(**parameters))[-1] == "Z"


def test_pg_03_the_gateways_own_options_are_consumed(gateway: RunningGateway) -> None:
    with WireClient(gateway.port) as client:
        client.start(options="-c taskgate.wait=refuse -c search_path=pg_catalog")
        rows = client.query("SHOW search_path")
        assert b"pg_catalog" in dict(rows)[b"D"]
    assert gateway.gate.options == [{"wait": "refuse"}]


@pytest.mark.parametrize("database", ["orders-db", "postgres", ""])
def test_pg_03_the_database_is_the_targets(gateway: RunningGateway, database: str) -> None:
    with WireClient(gateway.port) as client:
        client.start(database=database)
        assert b"postgres" in dict(client.query("SELECT current_database()"))[b"D"]


def test_pg_03_another_database_is_refused(gateway: RunningGateway) -> None:
    with WireClient(gateway.port) as client:
        client.send(startup.startup_message({"user": USER, "database": "template1"}))
        with pytest.raises(AssertionError, match="3D000|template1"):
            assert Refusal.of(client.authenticate()[-1])
    assert gateway.gate.sessions[-1].closed


def test_pg_03_identity_is_fixed(gateway: RunningGateway) -> None:
    with WireClient(gateway.port) as client:
        client.start()
        assert b"postgres" in dict(client.query("SELECT session_user"))[b"D"]
        name = dict(client.query("SHOW application_name"))[b"D"]
        assert gateway.session.id.encode() in name


def test_pg_03_the_target_hears_nothing_before_the_session_is_let_in() -> None:
    """The connection is made meanwhile; a session that the store refuses has said nothing over it."""
    closed = threading.Event()

    def script(connection: FakeConnection) -> None:
        if connection.raw.recv(1) == b"":
            closed.set()

    async def refused(_: object) -> None:
        await asyncio.sleep(0.2)
        raise AuthenticationFault("The credential is no longer valid.")

    with fake_target(script) as (gateway, target), WireClient(gateway.port) as client:
        gateway.gate.letting_in = refused
        client.send(startup.startup_message({"user": USER}))
        with pytest.raises(AssertionError, match="no longer valid"):
            client.authenticate()
        assert closed.wait(5)
        assert target.heard == b""


def test_pg_03_another_database_reaches_no_target() -> None:
    reached = threading.Event()
    with fake_target(lambda _: reached.set()) as (gateway, _), WireClient(gateway.port) as client:
        client.send(startup.startup_message({"user": USER, "database": "another"}))
        with pytest.raises(AssertionError, match="3D000"):
            client.authenticate()
        assert not reached.wait(0.3)
