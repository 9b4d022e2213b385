"""PG-04: cancel requests with keys that are guessed, somebody else's, too long, replayed; and floods of them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.protocols.postgres import startup
from taskgate.protocols.postgres.frontend import Query
from tests.servers.gate import ScriptedGate, loopback_target
from tests.servers.gateway import RunningGateway, running_gateway
from tests.servers.wire import Refusal, WireClient


@pytest.fixture
def gateway(postgres18: PostgresServer) -> Iterator[RunningGateway]:
    gate = ScriptedGate(loopback_target(postgres18.port), postgres18.password)
    gate.approve = lambda action: "needs a human" in action.text
    with running_gateway(gate) as running:
        yield running


def cancel(gateway: RunningGateway, process: int, secret: bytes) -> None:
    with WireClient(gateway.port) as client:
        client.send(startup.cancel_request(process, secret))
        assert client.closed()


@pytest.fixture
def busy(gateway: RunningGateway) -> Iterator[WireClient]:
    with WireClient(gateway.port) as client:
        client.start()
        client.send(Query(b"SELECT pg_sleep(1)").encode())
        time.sleep(0.2)
        yield client


def test_pg_04_the_targets_key_stays_with_the_gateway(gateway: RunningGateway) -> None:
    with WireClient(gateway.port) as client:
        client.start()
        shown = dict(client.query("SELECT pg_backend_pid()"))[b"D"]
        assert str(client.key.process).encode() not in shown


def test_pg_04_only_the_owner_cancels(gateway: RunningGateway, busy: WireClient) -> None:
    with WireClient(gateway.port) as other:
        other.start()
        for process, secret in (
            (busy.key.process, secrets.token_bytes(4)),
            (busy.key.process, other.key.secret),
            (busy.key.process, b"\0\0\0\0"),
            (other.key.process, busy.key.secret),
            (busy.key.process ^ 1, busy.key.secret),
            (0, busy.key.secret),
            (-1, busy.key.secret),
            (busy.key.process, busy.key.secret + b"\0"),
            (busy.key.process, secrets.token_bytes(256)),
        ):
            cancel(gateway, process, secret)
        assert dict(other.query("SELECT 1"))[b"C"] == b"SELECT 1\0"
    assert dict(busy.until())[b"C"] == b"SELECT 1\0"
    assert gateway.gate.malformations.count("cancel request without a matching session") == 9


def test_pg_04_the_owner_does(gateway: RunningGateway, busy: WireClient) -> None:
    cancel(gateway, busy.key.process, busy.key.secret)
    assert Refusal.of((b"E", dict(busy.until())[b"E"])).sqlstate == "57014"


def test_pg_04_a_key_dies_with_its_session(gateway: RunningGateway) -> None:
    with WireClient(gateway.port) as client:
        client.start()
        key = client.key
        client.send(b"X\0\0\0\x04")
        assert client.closed()
    cancel(gateway, key.process, key.secret)
    assert "cancel request without a matching session" in gateway.gate.malformations


@pytest.mark.parametrize("secret", [b"", b"abc", b"x" * 257])
def test_pg_04_an_impossible_key_closes(gateway: RunningGateway, secret: bytes) -> None:
    with WireClient(gateway.port) as client:
        client.send(startup.cancel_request(1, secret))
        assert Refusal.of(client.message()).text == "invalid length of cancel request"
        assert client.closed()


def test_pg_04_a_flood_withdraws_a_parked_statement_once(gateway: RunningGateway) -> None:
    with WireClient(gateway.port) as client:
        client.start()
        client.send(Query(b"SELECT 'needs a human'").encode())
        assert client.message()[0] == b"N"
        for _ in range(30):
            cancel(gateway, client.key.process, secrets.token_bytes(4))
        assert gateway.session.withdrawn == 0
        for _ in range(10):
            cancel(gateway, client.key.process, client.key.secret)
        assert Refusal.of(client.until()[0]).sqlstate == "57014"
        assert gateway.session.withdrawn == 1
        assert not any("needs a human" in begun.action.text for begun in gateway.session.begun)
        assert dict(client.query("SELECT 1"))[b"C"] == b"SELECT 1\0"
