"""A PostgreSQL client that says exactly what a test tells it to, malformed or not. Blocking; errors are assertions."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from taskgate.protocols.postgres import frontend, startup
from taskgate.protocols.postgres.backend import Report
from taskgate.protocols.postgres.scram import ClientExchange, KeyCache
from tests.servers.gate import PASSWORD, USER

Message = tuple[bytes, bytes]


@dataclass
class Key:
    process: int = 0
    secret: bytes = b""


class WireClient:
    """`messages` are (type, body). `raw` is the socket, for whatever has no method here."""

    def __init__(self, port: int, *, timeout: float = 10) -> None:
        self.raw = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.key = Key()
        self._buffer = b""

    def __enter__(self) -> WireClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()

    def send(self, data: bytes) -> None:
        self.raw.sendall(data)

    def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = self.raw.recv(65536)
            if not data:
                raise EOFError
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def message(self) -> Message:
        kind = self.exactly(1)
        return kind, self.exactly(struct.unpack(">I", self.exactly(4))[0] - 4)

    def until(self, kind: bytes = b"Z") -> list[Message]:
        """Everything up to and including the first message of this type."""
        seen = [self.message()]
        while seen[-1][0] != kind:
            try:
                seen.append(self.message())
            except EOFError:
                raise AssertionError(f"closed after {seen}") from None
        return seen

    def rest(self) -> list[Message]:
        """Everything until the other side closes."""
        seen = []
        try:
            while True:
                seen.append(self.message())
        except (EOFError, ConnectionResetError):
            return seen

    def closed(self) -> bool:
        """Whether the other side closes without another word."""
        return self.rest() == []

    def start(self, user: str = USER, password: str = PASSWORD, **parameters: str) -> list[Message]:
        """Startup and SCRAM; returns what came after authentication, up to ReadyForQuery."""
        self.send(startup.startup_message({"user": user, "database": "orders-db", **parameters}))
        return self.authenticate(password)

    def authenticate(self, password: str = PASSWORD) -> list[Message]:
        exchange = ClientExchange(password, KeyCache(), binding=None, most_iterations=100_000)
        kind, body = self.message()
        assert (kind, body[:4]) == (b"R", struct.pack(">I", 10)), Refusal.of((kind, body))
        mechanism, first = exchange.first(tuple(name.decode() for name in body[4:].split(b"\0") if name))
        self.send(frontend.password(mechanism.encode() + b"\0" + struct.pack(">I", len(first)) + first))
        kind, body = self.message()
        assert (kind, body[:4]) == (b"R", struct.pack(">I", 11)), Refusal.of((kind, body))
        self.send(frontend.password(exchange.final(body[4:])))
        seen = self.until()
        for kind, body in seen:
            if kind == b"K":
                self.key = Key(struct.unpack(">i", body[:4])[0], body[4:])
        return seen

    def query(self, text: str) -> list[Message]:
        self.send(frontend.Query(text.encode()).encode())
        return self.until()


@dataclass(frozen=True)
class Refusal:
    """An ErrorResponse, read."""

    severity: str
    sqlstate: str
    text: str

    @classmethod
    def of(cls, message: Message) -> Refusal:
        kind, body = message
        assert kind == b"E", message
        framed = kind + struct.pack(">I", len(body) + 4) + body
        report = Report.decode(framed, 0, len(framed))
        return cls(report.fields[0x56].decode(), report.sqlstate, report.text)


def kinds(messages: list[Message]) -> str:
    """The types, in order: `TDCZ`."""
    return "".join(kind.decode() for kind, _ in messages)
