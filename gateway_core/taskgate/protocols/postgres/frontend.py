"""Messages a client sends: decoders and encoders in pairs. Bodies only carry what the protocol defines for them."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Bind:
    """`parameter_formats` and `result_formats` as sent: none, one for all, or one each (0 text, 1 binary)."""

    portal: bytes
    statement: bytes
    parameter_formats: tuple[int, ...] = ()
    parameters: tuple[bytes | None, ...] = ()
    result_formats: tuple[int, ...] = ()

    @classmethod
    def decode(cls, data: bytes, start: int, stop: int) -> Bind:
        reader = _reader(data, start, stop, "Bind")
        portal, statement = reader.cstring(), reader.cstring()
        parameter_formats = _formats(reader)
        parameters = []
        for _ in range(reader.count(4)):
            size = reader.int32()
            if size < -1:
                raise ClientFault("malformed Bind message: a negative parameter length")
            parameters.append(None if size == -1 else reader.take(size))
        result_formats = _formats(reader)
        reader.finish()
        if len(parameter_formats) not in (0, 1, len(parameters)):
            raise ClientFault("malformed Bind message: parameter formats and parameters do not fit")
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


def _formats(reader: Reader) -> tuple[int, ...]:
    formats = tuple(reader.int16() for _ in range(reader.count(2)))
    if any(code not in (0, 1) for code in formats):
        raise ClientFault("malformed Bind message: an unknown format code")
    return formats


def _encode_formats(formats: tuple[int, ...]) -> bytes:
    return INT16.pack(len(formats)) + b"".join(INT16.pack(code) for code in formats)


@dataclass(frozen=True, slots=True)
class Named:
    """Describe and Close: `kind` is `S` (prepared statement) or `P` (portal)."""

    kind: bytes
    name: bytes

    @classmethod
    def decode(cls, data: bytes, start: int, stop: int) -> Named:
        reader = _reader(data, start, stop, "Describe" if data[start] == 0x44 else "Close")
        kind, name = reader.take(1), reader.cstring()
        reader.finish()
        if kind not in (b"S", b"P"):
            raise ClientFault(f"malformed message: no such kind of object: {kind!r}")
        return cls(kind, name)


def describe(kind: bytes, name: bytes) -> bytes:
    return message(b"D", kind + name + b"\0")


def close(kind: bytes, name: bytes) -> bytes:
    return message(b"C", kind + name + b"\0")


@dataclass(frozen=True, slots=True)
class Execute:
    portal: bytes
    max_rows: int = 0

    @classmethod
    def decode(cls, data: bytes, start: int, stop: int) -> Execute:
        reader = _reader(data, start, stop, "Execute")
        portal, max_rows = reader.cstring(), reader.int32()
        reader.finish()
        return cls(portal, max_rows)

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
