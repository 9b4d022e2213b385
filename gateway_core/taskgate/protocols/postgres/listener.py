"""The PostgreSQL port: accepts connections, tells direct TLS from the rest, keeps floods out."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import structlog

from taskgate.enforcement.contracts import Gate
from taskgate.protocols.postgres.cancel import CancelKeys
from taskgate.protocols.postgres.limits import Limits
from taskgate.protocols.postgres.peer import Peer
from taskgate.protocols.postgres.proxy import PROTOCOL, Connection
from taskgate.protocols.postgres.service import Service
from taskgate.protocols.postgres.statements import Analyst, Analyze
from taskgate.protocols.postgres.tls import ALPN, ServerTls
from taskgate.protocols.postgres.upstream import keep_alive

log = structlog.get_logger(__name__)

_BACKLOG = 1024
_TLS_RECORD = 0x16


class Listener:
    """A listening port. `port` is the real one where 0 was asked for."""

    def __init__(self, service: Service, listening: list[socket.socket]) -> None:
        self._service = service
        self._listening = listening
        self._accepting = [asyncio.ensure_future(self._accept(each)) for each in listening]
        self._connections: set[asyncio.Task[None]] = set()
        self._knocking: dict[asyncio.Task[None], None] = {}  # have not proven who they are; the longest first
        self.port: int = listening[0].getsockname()[1]

    async def close(self) -> None:
        """Stop accepting and end every connection."""
        for task in self._accepting:
            task.cancel()
        for each in self._listening:
            each.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._accepting, *self._connections, return_exceptions=True)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        limits = self._service.limits
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError as error:  # out of descriptors: those that are open must be able to go on
                log.warning("postgres.accept_failed", reason=error.strerror)
                await asyncio.sleep(0.1)
                continue
            if len(self._connections) >= limits.connections:
                connection.close()
                continue
            if len(self._knocking) >= limits.unauthenticated:
                # Whoever means it needs milliseconds: those who only hold a place lose it, and keep nobody out.
                oldest = next(iter(self._knocking))
                del self._knocking[oldest]
                oldest.cancel()
            task = loop.create_task(self._serve(connection, str(address[0])))
            self._connections.add(task)
            self._knocking[task] = None
            task.add_done_callback(self._gone)

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        self._knocking.pop(task, None)

    async def _serve(self, connection: socket.socket, address: str) -> None:
        task = asyncio.current_task()

        def admitted() -> None:
            if task is not None:
                self._knocking.pop(task, None)

        try:
            async with asyncio.timeout(self._service.limits.startup_seconds):
                peer, encrypted = await self._attach(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError | TimeoutError):
                return
            raise
        await Connection(self._service, peer, address, encrypted=encrypted, admitted=admitted).run()

    async def _attach(self, connection: socket.socket) -> tuple[Peer, bool]:
        """A TLS handshake's first byte cannot be a startup packet's: so a client may start with TLS at once, if it says
        by ALPN that it means PostgreSQL."""
        service = self._service
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(connection)
        first = await _first_byte(connection)
        peer = Peer(service.limits.startup_packet, service.limits.write_buffer)
        direct = first == bytes((_TLS_RECORD,))
        if direct and service.tls is None:
            raise ConnectionResetError
        context = service.tls.context if direct and service.tls is not None else None
        transport, _ = await loop.connect_accepted_socket(lambda: peer, connection, ssl=context)
        if direct and transport.get_extra_info("ssl_object").selected_alpn_protocol() != ALPN:
            service.gate.malformed(protocol=PROTOCOL, client_address="", reason="direct TLS without ALPN")
            peer.abort()
            raise ConnectionResetError
        return peer, direct


async def _first_byte(connection: socket.socket) -> bytes:
    """Looked at, not taken."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(BlockingIOError):
        return connection.recv(1, socket.MSG_PEEK)
    readable = asyncio.Event()
    loop.add_reader(connection.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connection.fileno())
    return connection.recv(1, socket.MSG_PEEK)


async def serve(
    gate: Gate,
    host: str,
    port: int,
    *,
    tls: ServerTls | None = None,
    limits: Limits | None = None,
    analyze: Analyze | None = None,
    reuse_port: bool = False,
) -> Listener:
    """Listen. `port` 0: any free one. `reuse_port`: other processes may listen there as well."""
    if analyze is None:
        from taskgate.sql.postgres import analyze as postgres_analyze

        analyze = postgres_analyze
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listening: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in addresses:
            each = socket.socket(family, kind, protocol)
            listening.append(each)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.setblocking(False)
            each.bind(address)
            each.listen(_BACKLOG)
            if port == 0:
                break
    except OSError:
        for each in listening:
            each.close()
        raise
    cancels = CancelKeys(gate.cancel_name)
    gate.on_cancel(cancels.called)
    return Listener(Service(gate, limits or Limits(), tls, Analyst(analyze), cancels), listening)
