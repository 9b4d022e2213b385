"""Messages a server sends: decoders and encoders. RowDescription and its fields are in fields.py."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from taskgate.errors import TargetFault
from taskgate.protocols.postgres.codec import INT16, INT32, Reader, message
from taskgate.protocols.postgres.fields import Field

AUTHENTICATION_OK = message(b"R", INT32.pack(0))
PARSE_COMPLETE = message(b"1")
BIND_COMPLETE = message(b"2")
CLOSE_COMPLETE = message(b"3")
NO_DATA = message(b"n")

_FIELD = struct.Struct(">IhIhih")  # table OID, attnum, type OID, typlen, typmod, format
_SQLSTATE = re.compile(rb"[0-9A-Z]{5}")
_MOST_DIGITS = 20  # of a command tag's number of rows
_SHORT_STATUS = 128  # bytes of a ParameterStatus that is worth remembering
# Every field whose value is text that a statement's data can reach (severity, code, positions and the like cannot).
TEXT_FIELDS = frozenset(b"MDHWqsctdn")


def _reader(data: bytes, start: int, stop: int, what: str) -> Reader:
    return Reader(data, start + 5, stop, TargetFault, what)


@dataclass(frozen=True, slots=True)
class Report:
    """ErrorResponse or NoticeResponse. `fields` maps a field's type byte to its value, in the order received."""

    fields: Mapping[int, bytes]

    @classmethod
    def decode(cls, data: bytes, start: int, stop: int) -> Report:
        """Raises TargetFault where the report is malformed or lacks severity, SQLSTATE or message."""
        reader = _reader(data, start, stop, "ErrorResponse" if data[start] == 0x45 else "NoticeResponse")
        fields: dict[int, bytes] = {}
        while (code := reader.byte()) != 0:
            if code in fields:
                raise TargetFault("malformed ErrorResponse message: a field stands twice")
            fields[code] = reader.cstring()
        reader.finish()
        if not _SQLSTATE.fullmatch(fields.get(0x43, b"")):
            raise TargetFault("malformed ErrorResponse message: no SQLSTATE")
        if 0x53 not in fields or 0x4D not in fields:
            raise TargetFault("malformed ErrorResponse message: no severity or no message")
        return cls(fields)

    def encode(self, kind: bytes) -> bytes:
        return message(kind, b"".join(bytes((code,)) + value + b"\0" for code, value in self.fields.items()) + b"\0")

    @property
    def sqlstate(self) -> str:
        return self.fields[0x43].decode("ascii")

    @property
    def text(self) -> str:
        return self.fields[0x4D].decode("utf-8", "replace")

    @property
    def ends_session(self) -> bool:
        severity = self.fields.get(0x56) or self.fields[0x53]
        return severity in (b"FATAL", b"PANIC")


def report(
    severity: str,
    sqlstate: str,
    text: str,
    *,
    detail: str | None = None,
    hint: str | None = None,
    position: int | None = None,
) -> Report:
    """One of our own. Texts lose NUL, which the protocol cannot carry."""
    fields = {0x53: severity, 0x56: severity, 0x43: sqlstate, 0x4D: text}
    if detail:
        fields[0x44] = detail
    if hint:
        fields[0x48] = hint
    if position is not None:
        fields[0x50] = str(position)
    return Report({code: value.replace("\0", "").encode("utf-8", "replace") for code, value in fields.items()})


def decode_parameter_status(data: bytes, start: int, stop: int) -> tuple[str, str]:
    """Every session of a target begins with the same dozen."""
    if stop - start <= _SHORT_STATUS:
        return _short_status(data[start:stop])
    return _status(data, start, stop)


@lru_cache(maxsize=256)
def _short_status(message: bytes) -> tuple[str, str]:
    return _status(message, 0, len(message))


def _status(data: bytes, start: int, stop: int) -> tuple[str, str]:
    reader = _reader(data, start, stop, "ParameterStatus")
    name, value = reader.cstring(), reader.cstring()
    reader.finish()
    return name.decode("utf-8", "replace"), value.decode("utf-8", "replace")


def parameter_status(name: str, value: str) -> bytes:
    return message(b"S", name.encode() + b"\0" + value.encode() + b"\0")


def decode_backend_key(data: bytes, start: int, stop: int) -> tuple[int, bytes]:
    """Process id and secret. The secret has 4 bytes in protocol 3.0, up to 256 from 3.2 on."""
    reader = _reader(data, start, stop, "BackendKeyData")
    process, secret = reader.int32(), reader.take(reader.left)
    if not 4 <= len(secret) <= 256:
        raise TargetFault("malformed BackendKeyData message: a secret of impossible length")
    return process, secret


def backend_key(process: int, secret: bytes) -> bytes:
    return message(b"K", INT32.pack(process) + secret)


def decode_ready(data: bytes, start: int, stop: int) -> int:
    """The transaction status byte: `I`, `T` or `E`."""
    if stop - start != 6 or data[start + 5] not in b"ITE":
        raise TargetFault("malformed ReadyForQuery message")
    return data[start + 5]


def ready(status: bytes = b"I") -> bytes:
    return message(b"Z", status)


def decode_command_complete(data: bytes, start: int, stop: int) -> bytes:
    """The command tag, such as `INSERT 0 5`."""
    if stop - start < 6 or data[stop - 1] != 0 or data.find(b"\0", start + 5, stop) != stop - 1:
        raise TargetFault("malformed CommandComplete message")
    return data[start + 5 : stop - 1]


def rows_of(tag: bytes) -> int:
    """How many rows a command tag says were read or changed; 0 where it says none."""
    last = tag[tag.rfind(b" ") + 1 :]
    return int(last) if last.isdigit() and last != tag and len(last) <= _MOST_DIGITS else 0


def decode_notification(data: bytes, start: int, stop: int) -> tuple[int, bytes, bytes]:
    reader = _reader(data, start, stop, "NotificationResponse")
    process, channel, payload = reader.int32(), reader.cstring(), reader.cstring()
    reader.finish()
    return process, channel, payload


def notification(process: int, channel: bytes, payload: bytes) -> bytes:
    return message(b"A", INT32.pack(process) + channel + b"\0" + payload + b"\0")


def decode_parameter_description(data: bytes, start: int, stop: int) -> tuple[int, ...]:
    reader = _reader(data, start, stop, "ParameterDescription")
    # Up to 65,535 parameters: the one count that is unsigned.
    count = reader.int16() & 0xFFFF
    if count * 4 != reader.left:
        raise TargetFault("malformed ParameterDescription message")
    return tuple(reader.uint32() for _ in range(count))


def decode_copy_response(data: bytes, start: int, stop: int) -> tuple[int, tuple[int, ...]]:
    """CopyInResponse or CopyOutResponse: overall format (0 text, 1 binary) and one format a column."""
    reader = _reader(data, start, stop, "CopyResponse")
    overall = reader.byte()
    formats = tuple(reader.int16() for _ in range(reader.count(2)))
    reader.finish()
    if overall not in (0, 1) or any(code not in (0, 1) for code in formats):
        raise TargetFault("malformed CopyResponse message")
    return overall, formats


def decode_data_row(data: bytes, start: int, stop: int) -> tuple[bytes | None, ...]:
    """All cells of one row. For the gateway's own queries and for tests; results for clients go through rows.py."""
    reader = _reader(data, start, stop, "DataRow")
    cells: list[bytes | None] = []
    for _ in range(reader.count(4)):
        size = reader.int32()
        if size < -1:
            raise TargetFault("malformed DataRow message: a negative cell length")
        cells.append(None if size == -1 else reader.take(size))
    reader.finish()
    return tuple(cells)


def data_row(cells: tuple[bytes | None, ...]) -> bytes:
    parts = [INT16.pack(len(cells))]
    parts += [INT32.pack(-1) if cell is None else INT32.pack(len(cell)) + cell for cell in cells]
    return message(b"D", b"".join(parts))


def decode_row_description(data: bytes, start: int, stop: int) -> tuple[Field, ...]:
    reader = _reader(data, start, stop, "RowDescription")
    fields = []
    for _ in range(reader.count(19)):
        name = reader.cstring()
        fields.append(Field(name, *_FIELD.unpack(reader.take(18))))
    reader.finish()
    if any(field.format not in (0, 1) for field in fields):
        raise TargetFault("malformed RowDescription message: an unknown format code")
    return tuple(fields)


def row_description(fields: tuple[Field, ...]) -> bytes:
    parts = [INT16.pack(len(fields))]
    for each in fields:
        rest = (each.table_oid, each.attnum, each.type_oid, each.typlen, each.typmod, each.format)
        parts.append(each.name + b"\0" + _FIELD.pack(*rest))
    return message(b"T", b"".join(parts))


def sasl_mechanisms(data: bytes, start: int, stop: int) -> tuple[str, ...]:
    """AuthenticationSASL: the mechanisms offered (the body behind the 4-byte code)."""
    reader = Reader(data, start + 9, stop, TargetFault, "AuthenticationSASL")
    names = []
    while name := reader.cstring():
        names.append(name.decode("ascii", "replace"))
    reader.finish()
    return tuple(names)


def authentication(code: int, body: bytes = b"") -> bytes:
    return message(b"R", INT32.pack(code) + body)
