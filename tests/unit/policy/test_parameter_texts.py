import struct

import pytest

from taskgate.domain import Parameter
from taskgate.policy.parameter_texts import Undecodable, text_of


@pytest.mark.parametrize(
    ("oid", "form", "value", "text"),
    [
        (25, 0, b"abc", "abc"),
        (25, 1, "é".encode(), "é"),
        (0, 0, b" 7", " 7"),
        (23, 0, b" +07 ", "7"),
        (23, 1, struct.pack(">i", -5), "-5"),
        (20, 1, struct.pack(">q", 2**40), str(2**40)),
        (21, 1, struct.pack(">h", 3), "3"),
        (26, 1, struct.pack(">I", 2**32 - 1), str(2**32 - 1)),
        (16, 1, b"\x01", "true"),
        (16, 0, b"F", "false"),
        (16, 0, b"on", "true"),
        (701, 1, struct.pack(">d", 1.5), "1.5"),
        (701, 0, b"1.50", "1.5"),
        (2950, 0, b"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (2950, 1, bytes(16), "00000000-0000-0000-0000-000000000000"),
        (3802, 1, b'\x01{"a": 1}', '{"a": 1}'),
        (1700, 0, b"1.50", "1.50"),
    ],
)
def test_one_spelling_for_a_value(oid: int, form: int, value: bytes, text: str) -> None:
    assert text_of(Parameter(oid, form, value)) == text


def test_null_is_none() -> None:
    assert text_of(Parameter(25, 0, None)) is None


@pytest.mark.parametrize(
    ("oid", "form", "value"),
    [
        (1700, 1, b"\0\0"),
        (0, 1, b"x"),
        (23, 1, b"\0"),
        (23, 0, b"seven"),
        (16, 1, b"\2"),
        (16, 0, b"perhaps"),
        (25, 0, b"\xff"),
        (25, 1, b"\xff"),
        (2950, 1, b"x"),
        (3802, 1, b"{}"),
        (25, 2, b"x"),
    ],
)
def test_what_is_not_understood_has_no_text(oid: int, form: int, value: bytes) -> None:
    with pytest.raises(Undecodable) as caught:
        text_of(Parameter(oid, form, value))
    assert str(caught.value) == ""
