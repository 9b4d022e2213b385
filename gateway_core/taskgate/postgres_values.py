"""Bound PostgreSQL values in their binary form, for people. Never guesses: what is not surely read stays bytes.

Forms: the types' send functions. OIDs of built-in types are fixed:
https://www.postgresql.org/docs/18/catalog-pg-type.html
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's binary dates and times count from here
_MICROSECONDS = {2**63 - 1: "infinity", -(2**63): "-infinity"}

NAMES = {
    16: "boolean",
    17: "bytea",
    20: "bigint",
    21: "smallint",
    23: "integer",
    25: "text",
    114: "json",
    700: "real",
    701: "double precision",
    1042: "character",
    1043: "character varying",
    1082: "date",
    1083: "time",
    1114: "timestamp",
    1184: "timestamp with time zone",
    1700: "numeric",
    2950: "uuid",
    3802: "jsonb",
}


def reading(type_oid: int, value: bytes) -> str | None:
    """What `value` says; None where the type is not known here or the bytes are none of it."""
    reader = _READERS.get(type_oid)
    if reader is None:
        return None
    try:
        return reader(value)
    except (ValueError, struct.error, OverflowError):
        return None


def _integer(size: int) -> Callable[[bytes], str]:
    def read(value: bytes) -> str:
        if len(value) != size:
            raise ValueError
        return str(int.from_bytes(value, "big", signed=True))

    return read


def _boolean(value: bytes) -> str:
    return {b"\x00": "false", b"\x01": "true"}.get(value) or _none()


def _none() -> str:
    raise ValueError


def _float(form: str) -> Callable[[bytes], str]:
    return lambda value: repr(struct.unpack(form, value)[0])


def _moment(zone: str) -> Callable[[bytes], str]:
    def read(value: bytes) -> str:
        microseconds = struct.unpack("!q", value)[0]
        if microseconds in _MICROSECONDS:
            return _MICROSECONDS[microseconds]
        moment = _EPOCH + timedelta(microseconds=microseconds)
        return moment.replace(tzinfo=None).isoformat(sep=" ") + zone

    return read


def _date(value: bytes) -> str:
    days = struct.unpack("!i", value)[0]
    if days in (2**31 - 1, -(2**31)):
        return "infinity" if days > 0 else "-infinity"
    return date.fromordinal(_EPOCH.toordinal() + days).isoformat()


def _uuid(value: bytes) -> str:
    return str(UUID(bytes=value))


def _text(value: bytes) -> str:
    return value.decode()


def _jsonb(value: bytes) -> str:
    if value[:1] != b"\x01":
        raise ValueError
    return value[1:].decode()


_READERS: dict[int, Callable[[bytes], str]] = {
    16: _boolean,
    20: _integer(8),
    21: _integer(2),
    23: _integer(4),
    25: _text,
    114: _text,
    700: _float("!f"),
    701: _float("!d"),
    1042: _text,
    1043: _text,
    1082: _date,
    1114: _moment(""),
    1184: _moment("+00"),
    2950: _uuid,
    3802: _jsonb,
}
