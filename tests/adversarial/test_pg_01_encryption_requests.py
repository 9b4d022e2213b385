"""PG-01, PG-02: SSLRequest, GSSENCRequest, direct TLS, and bytes glued behind them."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import TlsMode
from taskgate.protocols.postgres import startup
from taskgate.protocols.postgres.frontend import Query
from taskgate.protocols.postgres.limits import Limits
from taskgate.protocols.postgres.tls import ServerTls
from tests.adversarial.pg import FakeConnection, FakeTarget
from tests.servers.certificates import certificate
from tests.servers.gate import PASSWORD, USER, ScriptedGate, loopback_target
from tests.servers.gateway import RunningGateway, running_gateway
from tests.servers.wire import Refusal, WireClient, kinds

SSL = startup.ssl_request()
GSS = struct.pack(">II", 8, startup.GSSENC_REQUEST)


@pytest.fixture
def gate(postgres18: PostgresServer) -> ScriptedGate:
    return ScriptedGate(loopback_target(postgres18.port), postgres18.password)


@pytest.fixture
def plain(gate: ScriptedGate) -> Iterator[RunningGateway]:
    with running_gateway(gate) as running:
        yield running


@pytest.fixture
def tls(tmp_path: Path) -> ServerTls:
    return ServerTls.load(*certificate(tmp_path))


@pytest.fixture
def encrypted(gate: ScriptedGate, tls: ServerTls) -> Iterator[RunningGateway]:
    with running_gateway(gate, tls=tls) as running:
        yield running


def unverified(*, alpn: str | None = "postgresql") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


@pytest.mark.parametrize("requests", [(SSL,), (GSS,), (SSL, GSS), (GSS, SSL)])
def test_pg_01_each_request_is_answered_with_one_byte(plain: RunningGateway, requests: tuple[bytes, ...]) -> None:
    with WireClient(plain.port) as client:
        for request in requests:
            client.send(request)
            assert client.exactly(1) == b"N"
        assert kinds(client.start())[-1] == "Z"


@pytest.mark.parametrize("request_", [SSL, GSS])
def test_pg_01_a_repeated_request_closes(plain: RunningGateway, request_: bytes) -> None:
    with WireClient(plain.port) as client:
        client.send(request_)
        assert client.exactly(1) == b"N"
        client.send(request_)
        assert Refusal.of(client.rest()[0]).severity == "FATAL"
    assert "encryption was asked for twice" in plain.gate.malformations


def test_pg_01_gss_then_tls(encrypted: RunningGateway) -> None:
    with WireClient(encrypted.port) as client:
        client.send(GSS)
        assert client.exactly(1) == b"N"
        client.send(SSL)
        assert client.exactly(1) == b"S"
        client.raw = unverified().wrap_socket(client.raw)
        assert kinds(client.start())[-1] == "Z"


@pytest.mark.parametrize("request_", [SSL, GSS])
def test_pg_01_a_request_inside_tls_closes(encrypted: RunningGateway, request_: bytes) -> None:
    with WireClient(encrypted.port) as client:
        client.send(SSL)
        assert client.exactly(1) == b"S"
        client.raw = unverified().wrap_socket(client.raw)
        client.send(request_)
        assert Refusal.of(client.rest()[0]).severity == "FATAL"


def test_pg_01_direct_tls(encrypted: RunningGateway) -> None:
    with WireClient(encrypted.port) as client:
        client.raw = unverified().wrap_socket(client.raw)
        assert kinds(client.start())[-1] == "Z"


def test_pg_01_direct_tls_without_alpn_closes(encrypted: RunningGateway) -> None:
    with WireClient(encrypted.port) as client:
        client.raw = unverified(alpn=None).wrap_socket(client.raw)
        assert client.closed()


def test_pg_01_direct_tls_where_there_is_no_tls_closes(plain: RunningGateway) -> None:
    with WireClient(plain.port) as client, pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        client.raw = unverified().wrap_socket(client.raw)


def test_pg_01_psql_over_tls_with_channel_binding(encrypted: RunningGateway) -> None:
    for options in (
        "sslmode=require",
        "sslmode=require channel_binding=require",
        "sslmode=require sslnegotiation=direct",
    ):
        dsn = f"host=127.0.0.1 port={encrypted.port} user={USER} password={PASSWORD} dbname=orders-db {options}"
        try:
            with psycopg.connect(dsn) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.ProgrammingError:
            assert "sslnegotiation" in options  # a libpq before 17


def test_pg_01_tls_can_be_demanded(encrypted: RunningGateway) -> None:
    with WireClient(encrypted.port) as client:
        client.send(startup.startup_message({"user": USER}))
        assert Refusal.of(client.message()).sqlstate == "28000"
        assert client.closed()


def test_pg_01_silence_ends(gate: ScriptedGate) -> None:
    with running_gateway(gate, limits=Limits(startup_seconds=0.3)) as running:
        with WireClient(running.port) as silent, WireClient(running.port) as slow:
            slow.send(SSL)
            assert slow.exactly(1) == b"N"
            assert silent.closed()
            assert Refusal.of(slow.rest()[0]).severity == "FATAL"


def test_al_08_those_who_only_knock_keep_nobody_out(gate: ScriptedGate) -> None:
    """However long they may take: the next that comes takes the place of the one that has waited longest."""
    with running_gateway(gate, limits=Limits(unauthenticated=5, startup_seconds=60)) as running:
        answered = WireClient(running.port)
        answered.send(SSL)
        assert answered.exactly(1) == b"N"
        knocking = [WireClient(running.port) for _ in range(12)]
        for number, client in enumerate(knocking):
            if number % 3 == 1:
                client.send(SSL[:1])
            elif number % 3 == 2:
                client.send(SSL)
        dsn = f"host=127.0.0.1 port={running.port} user={USER} password={PASSWORD} dbname=orders-db sslmode=disable"
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            assert knocking[0].closed()
            assert knocking[1].closed()
            assert kinds(answered.rest()) in ("", "E")  # and then it is closed, however far it had come
            assert connection.execute("SELECT 2").fetchone() == (2,)  # whoever has come in stays
        for client in (answered, *knocking):
            client.raw.close()


@pytest.mark.parametrize("request_", [SSL, GSS])
def test_pg_02_plaintext_behind_a_request_closes(encrypted: RunningGateway, request_: bytes) -> None:
    with WireClient(encrypted.port) as client:
        client.send(request_ + Query(b"SELECT 1").encode())
        assert Refusal.of(client.message()).text == "received unencrypted data after an encryption request"
        assert client.closed()


def test_pg_02_plaintext_between_request_and_handshake_is_never_read_as_protocol(encrypted: RunningGateway) -> None:
    with WireClient(encrypted.port) as client:
        client.send(SSL)
        assert client.exactly(1) == b"S"
        client.send(startup.startup_message({"user": USER}))
        assert not any(kind == b"R" for kind, _ in client.rest())


def test_pg_02_bytes_of_the_target_behind_its_s_close(tls: ServerTls, tmp_path: Path) -> None:
    """A middleman between us and the target appends plaintext to the server's answer."""

    def script(connection: FakeConnection) -> None:
        connection.hear(8)
        connection.say(b"S" + b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I")
        connection.linger()

    target = FakeTarget(script)
    gate = ScriptedGate(loopback_target(target.port), "secret")
    import dataclasses

    gate.target = dataclasses.replace(gate.target, tls=TlsMode.VERIFY_CA, ca_file=str(tmp_path / "certificate.pem"))
    try:
        with running_gateway(gate) as running, WireClient(running.port) as client:
            client.send(startup.startup_message({"user": USER}))
            with pytest.raises(AssertionError, match="FATAL"):
                _authenticate_then_read(client)
        assert b"orders" not in target.heard
    finally:
        target.close()


def _authenticate_then_read(client: WireClient) -> None:
    try:
        client.authenticate()
    except EOFError:
        raise AssertionError("FATAL") from None


def test_pg_02_the_target_is_reached_over_verified_tls(postgres18: PostgresServer, tmp_path: Path) -> None:
    """A TLS terminator in front of the real server: right certificate, then a wrong one, then none at all."""
    import dataclasses

    from tests.servers.certificates import TlsFront

    certificate_file, key_file = certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with TlsFront(postgres18.port, certificate_file, key_file) as front:
        gate = ScriptedGate(loopback_target(front.port), postgres18.password)
        gate.target = dataclasses.replace(gate.target, tls=TlsMode.VERIFY_FULL, ca_file=str(certificate_file))
        with running_gateway(gate) as running:
            with psycopg.connect(running.dsn()) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            wrong_ca, _ = certificate(other)
            gate.target = dataclasses.replace(gate.target, ca_file=str(wrong_ca))
            with pytest.raises(psycopg.OperationalError, match="target orders-db failed"):
                psycopg.connect(running.dsn())
            gate.target = dataclasses.replace(gate.target, port=postgres18.port)
            with pytest.raises(psycopg.OperationalError, match="does not speak TLS"):
                psycopg.connect(running.dsn())


__all__ = ["socket"]
