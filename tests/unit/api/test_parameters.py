from __future__ import annotations

import struct
from uuid import UUID

import pytest

from taskgate.api.parameters import readable
from taskgate.domain import Parameter


@pytest.mark.parametrize(
    ("type_oid", "value", "shown"),
    [
        (16, b"\x01", "true"),
        (16, b"\x02", None),
        (20, (-5).to_bytes(8, "big", signed=True), "-5"),
        (21, b"\x00\x07", "7"),
        (23, b"\x00\x00\x00\x07", "7"),
        (23, b"\x00\x07", None),
        (25, "ä".encode(), "ä"),
        (25, b"\xff", None),
        (700, struct.pack("!f", 0.5), "0.5"),
        (701, struct.pack("!d", 0.1), "0.1"),
        (1082, struct.pack("!i", 9824), "2026-11-24"),
        (1082, struct.pack("!i", 2**31 - 1), "infinity"),
        (1082, struct.pack("!i", 2**31 - 2), None),
        (1114, struct.pack("!q", 0), "2000-01-01 00:00:00"),
        (1184, struct.pack("!q", 1_500_000), "2000-01-01 00:00:01.500000+00"),
        (1184, struct.pack("!q", 2**63 - 1), "infinity"),
        (1184, struct.pack("!q", 2**63 - 2), None),
        (2950, UUID(int=7).bytes, str(UUID(int=7))),
        (3802, b'\x01{"a": 1}', '{"a": 1}'),
        (3802, b"\x02{}", None),
        (1700, b"\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07", None),  # not read: the bytes are shown
        (99999, b"\x00", None),
    ],
)
def test_binary_values_are_read_only_where_that_is_sure(type_oid: int, value: bytes, shown: str | None) -> None:
    found = readable(1, Parameter(type_oid, 1, value))
    assert (found.encoding, found.value, found.shown) == ("hex", value.hex(), shown)


def test_text_null_and_text_that_is_none() -> None:
    assert readable(1, Parameter(25, 0, b"a")).value == "a"
    assert readable(2, Parameter(25, 0, None)).encoding == "null"
    assert readable(3, Parameter(25, 0, b"\xff")).encoding == "hex"
