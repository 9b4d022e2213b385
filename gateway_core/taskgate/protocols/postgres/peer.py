"""One side of a connection as asyncio sees it: bytes in, bytes out, back pressure. Knows nothing of the protocol."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from taskgate.errors import ClientFault

_TCP_ESTABLISHED = 1


class Peer(asyncio.Protocol):
    """Bytes go to `received` once that is set; until then they gather, at most `cap` of them before reading pauses."""

    def __init__(self, cap: int, write_buffer: int) -> None:
        self.transport: asyncio.Transport | None = None
        self.received: Callable[[bytes], None] | None = None
        self.lost: Callable[[], None] | None = None
        self.congested: Callable[[bool], None] | None = None
        self.closed = False
        self._cap = cap
        self._write_buffer = write_buffer
        self._gathered = bytearray()
        self._held = b""
        self._news: asyncio.Future[None] | None = None
        self._reasons: set[str] = set()

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.adopt(transport)

    def adopt(self, transport: asyncio.BaseTransport) -> None:
        """Use this transport from now on (it changes when TLS starts)."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self.transport.set_write_buffer_limits(high=self._write_buffer)

    def data_received(self, data: bytes) -> None:
        if self.received is not None:
            self.received(data)
            return
        self._gathered += data
        if len(self._gathered) > self._cap:
            self.pause("gathering")
        self._wake()

    def eof_received(self) -> bool:
        return False  # close: a half-closed client of PostgreSQL is a gone client

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._wake()
        if self.lost is not None:
            self.lost()

    def pause_writing(self) -> None:
        if self.congested is not None:
            self.congested(True)

    def resume_writing(self) -> None:
        if self.congested is not None:
            self.congested(False)

    # --- ours ---

    def pause(self, reason: str) -> None:
        """Stop reading as long as any reason stands."""
        if not self._reasons and self.transport is not None and not self.closed:
            self.transport.pause_reading()
        self._reasons.add(reason)

    def resume(self, reason: str) -> None:
        if reason in self._reasons:
            self._reasons.discard(reason)
            if not self._reasons and self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()

    @property
    def paused(self) -> bool:
        return bool(self._reasons)

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            if self._held:
                data, self._held = self._held + data, b""
            self.transport.write(data)

    def hold(self, data: bytes) -> None:
        """To go out with the next write: for what the peer need not be woken for."""
        self._held += data

    def close(self) -> None:
        """Hand over what is written, then close."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    @property
    def gathered(self) -> int:
        return len(self._gathered)

    async def take(self, size: int) -> bytes:
        """Exactly so many bytes, taken out; ConnectionResetError when the peer is gone before they are there."""
        await self.peek(size)
        data = bytes(self._gathered[:size])
        del self._gathered[:size]
        if len(self._gathered) <= self._cap:
            self.resume("gathering")
        return data

    async def peek(self, size: int) -> bytes:
        """At least so many bytes, left where they are."""
        while len(self._gathered) < size:
            if self.closed:
                raise ConnectionResetError
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return bytes(self._gathered[:size])

    async def message(self, cap: int) -> bytes:
        """One whole typed message. Raises ClientFault on an impossible length."""
        length = int.from_bytes((await self.peek(5))[1:5], "big")
        if not 4 <= length <= cap:
            raise ClientFault(f"malformed message: length {length} (the cap here is {cap} bytes)")
        return await self.take(length + 1)

    def deliver_to(self, received: Callable[[bytes], None]) -> None:
        """From now on bytes go there, those gathered first."""
        self.received = received
        if self._gathered:
            data = bytes(self._gathered)
            self._gathered.clear()
            received(data)
        self.resume("gathering")

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    @property
    def gone(self) -> bool:
        """Whether the peer has closed its side, also while nobody reads (Linux)."""
        if self.closed:
            return True
        connection = self.transport.get_extra_info("socket") if self.transport is not None else None
        if connection is None or not hasattr(socket, "TCP_INFO"):
            return False
        try:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        except OSError:
            return True
        return bool(info[0] != _TCP_ESTABLISHED)
