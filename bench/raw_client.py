"""A client that does next to nothing: SCRAM, one simple query, then bytes until the server is ready.

What a driver costs would hide what the path costs; here the reader is a loop around `recv_into`.
"""

from __future__ import annotations

import socket
import struct
import time
from types import TracebackType

from scramp import ScramClient

_READY = 6  # a ReadyForQuery message: Z, length 5, status


class RawClient:
    def __init__(self, port: int, user: str, password: str, database: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 18)
        parameters = b"user\0" + user.encode() + b"\0database\0" + database.encode() + b"\0\0"
        self._socket.sendall(struct.pack("!ii", len(parameters) + 8, 196608) + parameters)
        self._authenticate(user, password)
        while self._message()[0] != b"Z":
            pass

    def query(self, text: str) -> tuple[int, float]:
        """(bytes of the whole answer, seconds until its first byte)"""
        payload = text.encode() + b"\0"
        self._socket.sendall(b"Q" + struct.pack("!i", len(payload) + 4) + payload)
        total, tail, first = 0, b"", 0.0
        started = time.perf_counter()
        view = memoryview(self._buffer)
        while True:
            got = self._socket.recv_into(view)
            if not got:
                raise ConnectionError("closed in the middle of an answer")
            first = first or time.perf_counter() - started
            total += got
            tail = (tail + bytes(view[max(0, got - _READY) : got]))[-_READY:]
            if tail[:5] == b"Z\0\0\0\x05":
                return total, first

    def close(self) -> None:
        self._socket.sendall(b"X\0\0\0\x04")
        self._socket.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _authenticate(self, user: str, password: str) -> None:
        scram = None
        while True:
            kind, body = self._message()
            if kind == b"E":
                raise ConnectionError(body.replace(b"\0", b" ").decode(errors="replace"))
            if kind != b"R":
                raise ConnectionError(f"unexpected message {kind!r}")
            (code,) = struct.unpack_from("!i", body)
            if code == 0:
                return
            if code == 10:
                scram = ScramClient(["SCRAM-SHA-256"], user, password)
                first = scram.get_client_first().encode()
                self._send(b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
            elif code == 11 and scram:
                scram.set_server_first(body[4:].decode())
                self._send(scram.get_client_final().encode())
            elif code == 12 and scram:
                scram.set_server_final(body[4:].decode())
            else:
                raise ConnectionError(f"authentication {code} is not known here")

    def _send(self, payload: bytes) -> None:
        self._socket.sendall(b"p" + struct.pack("!i", len(payload) + 4) + payload)

    def _message(self) -> tuple[bytes, bytes]:
        header = self._exactly(5)
        return header[:1], self._exactly(int.from_bytes(header[1:], "big") - 4)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self._socket.recv(size - len(data))
            if not chunk:
                raise ConnectionError("closed by the server")
            data += chunk
        return data
