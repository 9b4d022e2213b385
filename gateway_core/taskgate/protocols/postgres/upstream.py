"""Opening the one connection a session has to its target: TCP, TLS, startup, SCRAM, until the target is ready.

The target is not trusted with more than it needs: it gets the password proven by SCRAM, never the password; TLS is
verified; and bytes that arrive before TLS is up cannot be taken for bytes that came through it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from taskgate.domain import Target
from taskgate.errors import TargetFault
from taskgate.protocols.postgres import backend, frontend, startup
from taskgate.protocols.postgres.backend import Report
from taskgate.protocols.postgres.codec import INT32, MessageBuffer, split
from taskgate.protocols.postgres.limits import Limits
from taskgate.protocols.postgres.scram import ClientExchange, KeyCache
from taskgate.protocols.postgres.server_settings import ServerSettings
from taskgate.protocols.postgres.tls import client_context

_REFUSED_METHODS = {3: "cleartext password", 5: "MD5 password", 2: "Kerberos", 7: "GSSAPI", 9: "SSPI"}


@dataclass(slots=True)
class Opened:
    """What a target said until it was ready. `greeting`: ParameterStatus and notices, for the client."""

    settings: ServerSettings
    greeting: list[bytes] = field(default_factory=list)
    process: int = 0
    secret: bytes = field(default=b"", repr=False)


class TargetRefused(TargetFault):
    """The target said no, in its own words."""

    def __init__(self, target: str, report: Report) -> None:
        super().__init__(f"target {target} refused the session: {report.text}")
        self.sqlstate = report.sqlstate if report.sqlstate not in ("28P01", "28000") else "08004"


class Opening:
    """The start of a target's side, sans-IO: `begin` and `feed` return what to send; `done` when it is ready."""

    def __init__(
        self, target: Target, password: str, parameters: Mapping[str, str], keys: KeyCache, limits: Limits,
        *, binding: bytes | None,
    ) -> None:  # fmt: skip
        self._target = target
        self._parameters = parameters
        self._buffer = MessageBuffer(TargetFault, limits.message)
        self._scram = ClientExchange(password, keys, binding=binding, most_iterations=limits.scram_iterations)
        self._step = self._offered
        self._proven = False
        self.opened = Opened(ServerSettings(target.user))
        self.done = False

    def begin(self) -> bytes:
        return startup.startup_message(self._parameters)

    def feed(self, data: bytes) -> bytes:
        """Raises TargetFault where the target refuses, or does anything else than start a session."""
        data, runs = self._buffer.take(data)
        answer = b""
        for run in runs:
            for start, stop in split(data, run):
                if self.done:
                    raise TargetFault("the target went on talking before it was asked anything")
                answer += self._message(data, start, stop)
        if self.done and self._buffer.size:
            raise TargetFault("the target went on talking before it was asked anything")
        return answer

    def _message(self, data: bytes, start: int, stop: int) -> bytes:
        kind = data[start]
        if kind == 0x45:
            raise TargetRefused(self._target.name, Report.decode(data, start, stop))
        if kind == 0x52:
            if stop - start < 9:
                raise TargetFault("malformed Authentication message")
            return self._step(INT32.unpack_from(data, start + 5)[0], data, start, stop)
        if not self._proven:
            raise TargetFault("the target did not ask for authentication")
        if kind == 0x53:
            self.opened.settings.report(*backend.decode_parameter_status(data, start, stop))
            self.opened.greeting.append(data[start:stop])
        elif kind == 0x4E:
            Report.decode(data, start, stop)
            self.opened.greeting.append(data[start:stop])
        elif kind == 0x4B and not self.opened.secret:
            self.opened.process, self.opened.secret = backend.decode_backend_key(data, start, stop)
        elif kind == 0x5A:
            if backend.decode_ready(data, start, stop) != 0x49:
                raise TargetFault("the target starts inside a transaction")
            self.opened.settings.started()
            self.done = True
        else:
            raise TargetFault(f"the target sent a message of type {chr(kind)!r} while it started")
        return b""

    def _offered(self, code: int, data: bytes, start: int, stop: int) -> bytes:
        if code != 10:
            method = _REFUSED_METHODS.get(code, "no" if code == 0 else f"authentication method {code}")
            raise TargetFault(
                f"target {self._target.name} asks for {method} authentication, the gateway offers SCRAM-SHA-256 only",
                hint="Use scram-sha-256 in pg_hba.conf, and set the role's password with that password_encryption.",
            )
        mechanism, first = self._scram.first(backend.sasl_mechanisms(data, start, stop))
        self._step = self._continued
        return frontend.password(mechanism.encode() + b"\0" + INT32.pack(len(first)) + first)

    def _continued(self, code: int, data: bytes, start: int, stop: int) -> bytes:
        if code != 11:
            raise TargetFault("the target broke off the SCRAM exchange")
        self._step = self._finished
        return frontend.password(self._scram.final(data[start + 9 : stop]))

    def _finished(self, code: int, data: bytes, start: int, stop: int) -> bytes:
        if code != 12:
            raise TargetFault("the target did not finish the SCRAM exchange")
        self._scram.verify(data[start + 9 : stop])
        self._step = self._accepted
        return b""

    def _accepted(self, code: int, data: bytes, start: int, stop: int) -> bytes:
        if code != 0 or stop - start != 9 or self._proven:
            raise TargetFault("malformed Authentication message")
        self._proven = True
        return b""


async def dial(target: Target) -> tuple[socket.socket, ssl.SSLContext | None]:
    """A TCP connection to the target, with the answer to SSLRequest read where TLS is wanted. Not one byte more is
    read: whatever a middleman appends is then part of the TLS handshake, which fails."""
    loop = asyncio.get_running_loop()
    context = client_context(target)
    connection = await _connect(loop, await _addresses(loop, target), target.name)
    try:
        if context is not None:
            await loop.sock_sendall(connection, startup.ssl_request())
            if await loop.sock_recv(connection, 1) != b"S":
                raise TargetFault(f"target {target.name} does not speak TLS")
    except OSError:
        connection.close()
        raise TargetFault(f"target {target.name} closed the connection") from None
    except BaseException:
        connection.close()
        raise
    return connection, context


async def _addresses(loop: asyncio.AbstractEventLoop, target: Target) -> list[tuple]:  # type: ignore[type-arg]
    try:  # an address as it is needs nobody's answer, so no thread to wait for one
        return socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    try:
        return await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError:
        raise TargetFault(f"the address of target {target.name} cannot be resolved") from None


async def _connect(loop: asyncio.AbstractEventLoop, addresses: list[tuple], name: str) -> socket.socket:  # type: ignore[type-arg]
    reason = "no address"
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(connection)
            await loop.sock_connect(connection, address)
        except OSError as error:
            connection.close()
            reason = error.strerror or type(error).__name__
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise TargetFault(f"target {name} is out of reach: {reason}")


def keep_alive(connection: socket.socket) -> None:
    """A peer that vanished is noticed within about two minutes."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
