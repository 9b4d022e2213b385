"""Shared by the PG-* cases: a gateway in front of PostgreSQL 18, and one in front of a target that misbehaves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from taskgate.protocols.postgres import backend
from taskgate.protocols.postgres.codec import INT32
from taskgate.protocols.postgres.scram import ServerExchange, Verifier
from tests.servers.gate import ScriptedGate, loopback_target
from tests.servers.gateway import RunningGateway, running_gateway

TARGET_PASSWORD = "the-brokered-password"
GREETING = b"".join(
    backend.parameter_status(name, value)
    for name, value in (
        ("server_version", "18.0"), ("client_encoding", "UTF8"), ("standard_conforming_strings", "on"),
        ("search_path", "public"),
    )
)  # fmt: skip


class FakeTarget:
    """A server of the test's own. `script` gets each connection; `heard` is all it was sent."""

    def __init__(self, script: Callable[[FakeConnection], None]) -> None:
        self._script = script
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.heard = b""
        self.errors: list[Exception] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.settimeout(10)
            try:
                self._script(FakeConnection(self, connection))
            except OSError as error:
                self.errors.append(error)
            finally:
                connection.close()

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # closing alone leaves the thread in accept, and the port open
        self._listening.close()


class FakeConnection:
    def __init__(self, target: FakeTarget, raw: socket.socket) -> None:
        self._target = target
        self.raw = raw

    def hear(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.raw.recv(size - len(data))
            if not more:
                raise ConnectionResetError
            data += more
            self._target.heard += more
        return data

    def say(self, data: bytes) -> None:
        self.raw.sendall(data)

    def startup(self) -> None:
        self.hear(int.from_bytes(self.hear(4), "big") - 4)

    def message(self) -> tuple[bytes, bytes]:
        kind = self.hear(1)
        return kind, self.hear(int.from_bytes(self.hear(4), "big") - 4)

    def authenticate(self, password: str = TARGET_PASSWORD) -> None:
        """An honest SCRAM exchange."""
        exchange = ServerExchange(Verifier.of(password), known=True)
        self.say(backend.authentication(10, b"SCRAM-SHA-256\0\0"))
        _, body = self.message()
        self.say(backend.authentication(11, exchange.first("SCRAM-SHA-256", body.split(b"\0", 1)[1][4:])))
        _, body = self.message()
        self.say(backend.authentication(12, exchange.final(body)))

    def ready(self) -> None:
        """Everything up to and including the first ReadyForQuery."""
        self.startup()
        self.authenticate()
        key = backend.backend_key(42, INT32.pack(4711))
        self.say(backend.AUTHENTICATION_OK + GREETING + key + backend.ready())

    def until_sent(self, kind: bytes) -> bytes:
        """The body of the first message of this type."""
        while True:
            heard, body = self.message()
            if heard == kind:
                return body

    def linger(self) -> None:
        """Until the gateway closes."""
        try:
            while self.raw.recv(4096):
                pass
        except OSError:
            pass


@contextmanager
def fake_target(script: Callable[[FakeConnection], None]) -> Iterator[tuple[RunningGateway, FakeTarget]]:
    target = FakeTarget(script)
    gate = ScriptedGate(loopback_target(target.port), TARGET_PASSWORD)
    try:
        with running_gateway(gate) as gateway:
            yield gateway, target
    finally:
        target.close()
