"""Two gateway processes on one store, and a cancel request that reaches the wrong one."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from taskgate.client import Client
from taskgate.demo.local_gateway import LocalGateway
from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope
from taskgate.protocols.postgres import startup
from taskgate.protocols.postgres.frontend import Query
from tests.servers.folders import server_folder
from tests.servers.gate import loopback_target
from tests.servers.wire import Refusal, WireClient

POLICY = """\
version: 1
rules:
  - id: users-may-sleep
    match:
      targets: [orders-db]
      principals: {kind: user}
      effects: [sql.call, sql.unknown]
      objects: [pg_catalog.pg_sleep]
    verdict: allow
  - id: users-ask-before-they-insert
    match: {targets: [orders-db], principals: {kind: user}, effects: [sql.insert], objects: [public.asked]}
    verdict: approve
    approval: {from: ["group:dba"], hold: 30s, expires: 1h}
"""


class Balancer:
    """Stands in for a load balancer: each connection goes to the next gateway in turn."""

    def __init__(self, *ports: int) -> None:
        self._ports = ports
        self._next = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._ports[self._next % len(self._ports)]))
                self._next += 1
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=_copy, args=(source, sink), daemon=True).start()

    def close(self) -> None:
        self._listening.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@dataclass(frozen=True)
class Pair:
    """Two gateways on one store. `key`: dana's, for the control API of either."""

    first: LocalGateway
    second: LocalGateway
    key: str

    @contextlib.contextmanager
    def balanced(self) -> Iterator[int]:
        """A port that leads to the first, then to the second, and so on."""
        balancer = Balancer(self.first.postgres_port, self.second.postgres_port)
        try:
            yield balancer.port
        finally:
            balancer.close()

    def dsn(self, port: int, **options: str) -> str:
        with Client(self.first.url, self.key) as dana:
            credential = dana.issue_credential("orders-db")
        issued = credential.dsn.get_secret_value()
        return psycopg.conninfo.make_conninfo(issued, port=port, **options)


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def gateways(request: pytest.FixtureRequest, postgres18: PostgresServer) -> Iterator[Pair]:
    target = loopback_target(postgres18.port)
    described: dict[str, Any] = {
        "name": target.name, "host": target.host, "port": target.port, "database": target.database,
        "user": target.user, "tls": "disable",
    }  # fmt: skip
    with psycopg.connect(postgres18.dsn(), autocommit=True) as admin:
        admin.execute("create table if not exists public.asked (n int)")
    with server_folder("two-gateways") as folder, contextlib.ExitStack() as stack:
        url = f"sqlite+aiosqlite:///{folder / 'store.sqlite'}"
        if request.param == "postgresql":
            name = f"store_of_two_{folder.name[-8:].lower()}"
            with psycopg.connect(postgres18.dsn(), autocommit=True) as admin:
                admin.execute(f'create database "{name}"')
            url = postgres18.dsn(name).replace("postgresql://", "postgresql+asyncpg://")
        made = [
            LocalGateway(
                folder / which, targets=[described], secrets={target.name: postgres18.password}, policy=POLICY,
                settings={"store": {"url": url}},
            )
            for which in ("a", "b")
        ]  # fmt: skip
        key = made[0].api_key(PrincipalKind.USER, "dana", [Scope.CREDENTIALS_ISSUE], ["dba"])
        first, second = (stack.enter_context(each) for each in made)
        yield Pair(first, second, key)


class Running:
    """A statement on a thread, and when and how it ended."""

    def __init__(self, connection: psycopg.Connection, statement: str) -> None:
        self.error: psycopg.Error | None = None
        self.ended = 0.0
        self._work = (connection, statement)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        time.sleep(0.4)

    def _run(self) -> None:
        connection, statement = self._work
        try:
            connection.execute(statement)
        except psycopg.Error as error:
            self.error = error
        self.ended = time.monotonic()

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("version", ["3.0", "3.2"])
def test_a_cancel_request_that_reaches_the_other_process(gateways: Pair, version: str) -> None:
    """As libpq sends it: with the short key of protocol 3.0, and the long one of 3.2."""
    with (
        gateways.balanced() as port,
        psycopg.connect(gateways.dsn(port, max_protocol_version=version), autocommit=True) as connection,
    ):
        running = Running(connection, "select pg_sleep(8)")
        asked = time.monotonic()
        connection.cancel_safe()
        returned = time.monotonic()
        running.join()
        assert isinstance(running.error, psycopg.errors.QueryCanceled)
        assert running.ended - asked < 0.8  # on a loaded machine; about 0.25 s otherwise
        assert running.ended < returned + 0.3
        assert connection.execute("select pg_sleep(0.5)").rowcount == 1


def test_a_statement_that_waits_for_a_human_is_withdrawn(gateways: Pair) -> None:
    with gateways.balanced() as port, psycopg.connect(gateways.dsn(port), autocommit=True) as connection:
        running = Running(connection, "insert into public.asked values (1)")
        asked = time.monotonic()
        connection.cancel_safe()
        running.join()
        assert isinstance(running.error, psycopg.errors.QueryCanceled)
        assert running.ended - asked < 0.8


def test_guessed_keys_cancel_nothing_and_the_right_one_is_still_heard(gateways: Pair) -> None:
    issued = psycopg.conninfo.conninfo_to_dict(gateways.dsn(gateways.first.postgres_port))
    with WireClient(gateways.first.postgres_port) as client:
        client.send(startup.startup_message({"user": str(issued["user"]), "database": "orders-db"}, 2))
        client.authenticate(str(issued["password"]))
        process, secret = client.key.process, client.key.secret
        assert len(secret) == 32
        client.send(Query(b"select pg_sleep(8)").encode())
        for guess in [bytes([number]) * 32 for number in range(8)] + [secret[:4], secret[:31], secret + b"\0"]:
            cancel(gateways.second, process, guess)
        client.raw.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.message()
        client.raw.settimeout(10)
        cancel(gateways.second, process, secret)
        assert Refusal.of(client.until()[-2]).sqlstate == "57014"


def cancel(gateway: LocalGateway, process: int, secret: bytes) -> None:
    with WireClient(gateway.postgres_port) as client:
        client.send(startup.cancel_request(process, secret))
        assert client.closed()
