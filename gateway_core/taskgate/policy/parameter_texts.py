"""Bound PostgreSQL parameters as texts, for conditions that look at them.

Types: https://www.postgresql.org/docs/current/datatype-oid.html; binary forms are those of the types' send functions.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping

from taskgate.domain import Parameter

_BOOL = 16
_INTEGERS = {21: ">h", 23: ">i", 20: ">q", 26: ">I"}
_FLOATS = {700: ">f", 701: ">d"}
_TRUE = frozenset("t tr tru true y ye yes on 1".split())
_FALSE = frozenset("f fa fal fals false n no of off 0".split())


class Undecodable(Exception):
    """The parameter's meaning is not known here. Carries no value."""


def _fixed(layout: str) -> Callable[[bytes], str]:
    def decode(raw: bytes) -> str:
        if len(raw) != struct.calcsize(layout):
            raise Undecodable
        return str(struct.unpack(layout, raw)[0])

    return decode


def _text(raw: bytes) -> str:
    return raw.decode()


def _bool(raw: bytes) -> str:
    if raw not in (b"\0", b"\1"):
        raise Undecodable
    return "true" if raw == b"\1" else "false"


def _uuid(raw: bytes) -> str:
    if len(raw) != 16:
        raise Undecodable
    return str(uuid.UUID(bytes=raw))


def _jsonb(raw: bytes) -> str:
    if raw[:1] != b"\1":
        raise Undecodable
    return raw[1:].decode()


#: How the binary form of a type reads: texts (text, varchar, char(n), name, json, unknown) are their own bytes.
_BINARY: Mapping[int, Callable[[bytes], str]] = {
    _BOOL: _bool,
    2950: _uuid,
    3802: _jsonb,
    **{oid: _fixed(layout) for oid, layout in (_INTEGERS | _FLOATS).items()},
    **dict.fromkeys((25, 1043, 1042, 19, 114, 705), _text),
}


def _canonical(type_oid: int, text: str) -> str:
    """One spelling for a value: `+07` is 7 for an integer, `yes` is true for a boolean."""
    if type_oid in _INTEGERS:
        return str(int(text.strip(" \t\n\r\f\v")))
    if type_oid in _FLOATS:
        return str(float(text.strip()))
    if type_oid == _BOOL:
        word = text.strip().lower()
        if word in _TRUE or word in _FALSE:
            return "true" if word in _TRUE else "false"
        raise Undecodable
    if type_oid == 2950:
        return str(uuid.UUID(text.strip()))
    return text


def text_of(parameter: Parameter) -> str | None:
    """The parameter as PostgreSQL would print it; None for NULL. Raises Undecodable."""
    raw = parameter.value
    if raw is None:
        return None
    try:
        if parameter.format == 0:
            return _canonical(parameter.type_oid, raw.decode())
        decode = _BINARY.get(parameter.type_oid)
        if parameter.format != 1 or decode is None:
            raise Undecodable
        return decode(raw)
    except ValueError:
        raise Undecodable from None
