"""Messages a client sends: decoders and encoders in pairs. Bodies only carry what the protocol defines for them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from taskgate.errors import ClientFault
from taskgate.protocols.postgres.codec import INT16, INT32, UINT32, Reader, message

SYNC = message(b"S")
FLUSH = message(b"H")
TERMINATE = message(b"X")
COPY_DONE = message(b"c")


def _reader(data: bytes, start: int, stop: int, what: str) -> Reader:
    return Reader(data, start + 5, stop, ClientFault, what)


@dataclass(frozen=True, slots=True)
class Query:
    text: bytes

    @classmethod
    def decode(cls, data: bytes, start: int, stop: int) -> Query:
        reader = _reader(data, start, stop, "Query")
        text = reader.cstring()
        reader.finish()
        return cls(text)

    def encode(self) -> bytes:
        return message(b"Q", self.text + b"\0")


@dataclass(frozen=True, slots=True)
class Parse:
    name: bytes
    text: bytes
    types: tuple[int, ...] = ()

    @classmethod
    def decode(cls, data: bytes, start: int, stop: int) -> Parse:
        reader = _reader(data, start, stop, "Parse")
        name, text = reader.cstring(), reader.cstring()
        types = tuple(reader.uint32() for _ in range(reader.count(4)))
        reader.finish()
        return cls(name, text, types)

    def encode(self) -> bytes:
        types = b"".join(UINT32.pack(oid) for oid in self.types)
        return message(b"P", self.name + b"\0" + self.text + b"\0" + INT16.pack(len(self.types)) + types)


class Bind(NamedTuple):
    """`parameter_formats` and `result_formats` as sent: none, one for all, or one each (0 text, 1 binary)."""

    portal: bytes
    statement: bytes
    parameter_formats: tuple[int, ...] = ()
    parameters: tuple[bytes | None, ...] = ()
    result_formats: tuple[int, ...] = ()

    @classmethod
    def decode(cls, data: bytes, start: int, stop: int) -> Bind:
        # By hand instead of a Reader: this runs for every execution of a prepared statement.
        find, int16, int32 = data.find, INT16.unpack_from, INT32.unpack_from
        end = find(b"\0", start + 5, stop)
        portal = data[start + 5 : end]
        second = find(b"\0", end + 1, stop)
        if end < 0 or second < 0:
            raise _malformed_bind("a string has no end")
        statement = data[end + 1 : second]
        try:
            parameter_formats, at = _formats(data, second + 1)
            (count,) = int16(data, at)
            at += 2
            if count < 0 or count * 4 > stop - at:
                raise _malformed_bind("more parameters than the message holds")
            parameters: list[bytes | None] = []
            for _ in range(count):
                (size,) = int32(data, at)
                at += 4
                if size == -1:
                    parameters.append(None)
                    continue
                if size < 0 or size > stop - at:
                    raise _malformed_bind("a parameter of impossible length")
                parameters.append(data[at : at + size])
                at += size
            result_formats, at = _formats(data, at)
        except struct.error:
            raise _malformed_bind("it ends too early") from None
        if at != stop:  # too short as well: whatever was read of the next message
            raise _malformed_bind("its fields end elsewhere than the message")
        if len(parameter_formats) not in (0, 1, count):
            raise _malformed_bind("parameter formats and parameters do not fit")
        return cls(portal, statement, parameter_formats, tuple(parameters), result_formats)

    def encode(self) -> bytes:
        parts = [self.portal, b"\0", self.statement, b"\0", _encode_formats(self.parameter_formats)]
        parts.append(INT16.pack(len(self.parameters)))
        for value in self.parameters:
            parts.append(INT32.pack(-1) if value is None else INT32.pack(len(value)) + value)
        parts.append(_encode_formats(self.result_formats))
        return message(b"B", b"".join(parts))

    def parameter_format(self, position: int) -> int:
        formats = self.parameter_formats
        if not formats:
            return 0
        return formats[0] if len(formats) == 1 else formats[position]


def _malformed_bind(why: str) -> ClientFault:
    return ClientFault(f"malformed Bind message: {why}")


_KNOWN_FORMATS = {b"\0\0": (), b"\0\1\0\0": (0,), b"\0\1\0\1": (1,)}


def _formats(data: bytes, at: int) -> tuple[tuple[int, ...], int]:
    """Format codes and the offset behind them. May look beyond the message: the caller checks where it ends."""
    (count,) = INT16.unpack_from(data, at)
    end = at + 2 + 2 * count
    if count < 2:
        formats = _KNOWN_FORMATS.get(data[at:end])
        if formats is None:
            raise _malformed_bind("an unknown format code")
        return formats, end
    formats = struct.unpack_from(f">{count}h", data, at + 2)
    if any(code not in (0, 1) for code in formats):
        raise _malformed_bind("an unknown format code")
    return formats, end


def _encode_formats(formats: tuple[int, ...]) -> bytes:
    return INT16.pack(len(formats)) + b"".join(INT16.pack(code) for code in formats)


class Named(NamedTuple):
    """Describe and Close: `kind` is `S` (prepared statement) or `P` (portal)."""

    kind: bytes
    name: bytes

    @classmethod
    def decode(cls, data: bytes, start: int, stop: int) -> Named:
        kind, name = data[start + 5 : start + 6], data[start + 6 : stop - 1]
        if stop - start < 7 or data[stop - 1] != 0 or b"\0" in name or kind not in (b"S", b"P"):
            raise ClientFault(f"malformed {'Describe' if data[start] == 0x44 else 'Close'} message")
        return cls(kind, name)


def describe(kind: bytes, name: bytes) -> bytes:
    return message(b"D", kind + name + b"\0")


def close(kind: bytes, name: bytes) -> bytes:
    return message(b"C", kind + name + b"\0")


class Execute(NamedTuple):
    portal: bytes
    max_rows: int = 0

    @classmethod
    def decode(cls, data: bytes, start: int, stop: int) -> Execute:
        end = stop - 5
        if end < start + 5 or data.find(b"\0", start + 5, stop) != end:
            raise ClientFault("malformed Execute message")
        return cls(data[start + 5 : end], INT32.unpack_from(data, end + 1)[0])

    def encode(self) -> bytes:
        return message(b"E", self.portal + b"\0" + INT32.pack(self.max_rows))


def decode_copy_fail(data: bytes, start: int, stop: int) -> bytes:
    reader = _reader(data, start, stop, "CopyFail")
    reason = reader.cstring()
    reader.finish()
    return reason


def expect_empty(data: bytes, start: int, stop: int, what: str) -> None:
    """Sync, Flush, CopyDone and Terminate have no body."""
    if stop - start != 5:
        raise ClientFault(f"malformed {what} message: bytes behind the last field")


def password(data: bytes) -> bytes:
    """PasswordMessage, SASLInitialResponse and SASLResponse share one type byte."""
    return message(b"p", data)
