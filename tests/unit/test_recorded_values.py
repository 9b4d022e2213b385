from __future__ import annotations

import struct
from typing import Any
from uuid import UUID

import pytest

from taskgate.domain import Parameter
from taskgate.recorded_values import shown
from taskgate.recording.records import RecordedParameter


def recorded(type_oid: int, format_: int, value: bytes | None) -> dict[str, Any]:
    one = RecordedParameter.of(Parameter(type_oid, format_, value))
    return {name: getattr(one, name) for name in RecordedParameter.__slots__}


@pytest.mark.parametrize(
    ("type_oid", "value", "reads"),
    [
        (21, b"\x00\x07", "7"),
        (23, b"\x00\x00\x00\x07", "7"),
        (20, (-5).to_bytes(8, "big", signed=True), "-5"),
        (16, b"\x01", "true"),
        (701, struct.pack("!d", 0.1), "0.1"),
        (25, b"o'neil", "'o''neil'"),
        (1043, b"late", "'late'"),
        (2950, UUID(int=7).bytes, f"'{UUID(int=7)}'"),
        (1082, struct.pack("!i", 9824), "'2026-11-24'"),
        (1114, struct.pack("!q", 0), "'2000-01-01 00:00:00'"),
        (23, b"\x00\x07", "\\x0007 (bytes, hex, integer)"),
        (17, b"abc", "\\x616263 (bytes, hex, bytea)"),
        (99999, b"abc", "\\x616263 (bytes, hex, type 99999)"),
        (0, b"cancelled", "'cancelled' (bytes that read as text, type not recorded)"),
        (0, b"\x00\x00\x00\x07", "\\x00000007 (bytes, hex)"),
        (0, "a\u202eb".encode(), "\\x61e280ae62 (bytes, hex)"),
        (0, b"", "\\x (bytes, hex)"),
    ],
)
def test_binary_values_are_read_where_the_record_says_what_they_are(type_oid: int, value: bytes, reads: str) -> None:
    assert shown(recorded(type_oid, 1, value)) == reads


def test_text_null_and_text_that_is_none() -> None:
    assert shown(recorded(25, 0, b"a")) == "'a'"
    assert shown(recorded(23, 0, None)) == "NULL"
    assert shown(recorded(25, 0, b"\xff")) == "\\xff (bytes, hex, text)"


def test_a_masked_value_stays_masked() -> None:
    """Whatever else stands there: a mask's name is all that is shown."""
    assert (
        shown({"type_oid": 23, "format": 1, "hex": "00000007", "text": "7", "masked": "mails"}) == "[masked by mails]"
    )


def test_what_no_gateway_wrote_is_no_traceback() -> None:
    assert shown({"type_oid": "x", "format": 1, "hex": "zz"}) == "zz (no hex)"
    assert shown({"type_oid": "x", "format": 1, "hex": "00"}) == "\\x00 (bytes, hex)"
