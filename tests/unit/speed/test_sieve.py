"""What the sieve lets pass, in both forms."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate import speed
from taskgate.speed import plain
from tests.unit.speed.forms import both, compiled, sieves


@given(
    st.lists(
        st.sampled_from(
            [b"4111111111111111", b"4111 1111-1111 1112", b"41111111111111", b"123-45-6789", b"923 45 6789", b"DE89",
             b"370400440532013000", b"GB82 WEST 1234 5698 7654 32", b"no", b"83", b"6011117", b"0", b"7", b"5", b" ",
             b"-", b"   ", b"\0", b"A", b"x", b"_", b".", b"@", b"+", b"\xc3\xa9", b"words and such "]
        ),
        max_size=24,
    ).map(b"".join)
    | st.text(alphabet="0123456789 -", min_size=11, max_size=150).map(str.encode)
    | st.text(alphabet="0123456789ABDE -", max_size=150).map(str.encode),
    sieves,
)  # fmt: skip
@settings(max_examples=3000)
def test_sieve(view: bytes, sieve: tuple[int, bytes, dict[str, int]]) -> None:
    assert compiled.Sieve(*sieve).passes(view) is plain.Sieve(*sieve).passes(view)


@pytest.mark.parametrize("before", [0, 1, 20, 40, 47, 48, 49, 52, 63, 64, 100, 200])
@pytest.mark.parametrize(
    ("number", "held_back"),
    [
        (b"4111111111111111", b"4111111111111112"),
        (b"4111 1111 1111 1111", b"4111 1111 111    11"),
        (b"123-45-6789", b"123-45-678 "),
        (b"gb82west12345698765432", b"gb82west123456987654321"),
        (b"NO93 8601 1117 947", b"NO93 8601 1117  947"),
        (b"a@b", b"a(b"),
    ],
)
def test_a_value_is_seen_wherever_it_stands(before: int, number: bytes, held_back: bytes) -> None:
    for module in (compiled, plain):
        sieve = module.Sieve(7, b"@", {"GB": 22, "NO": 15})
        for filler in (b".", b" ", b"9 a"):
            lead = (filler * before)[:before]
            assert sieve.passes(lead + b"." + number + b"." * (before % 70))
            assert not sieve.passes(lead + b"." + held_back + b"." * (before % 70))


@given(st.text(alphabet='ab"\\{}:, ', max_size=30), st.sets(st.integers(0, 32), max_size=6))
def test_in_strings(document: str, offsets: set[int]) -> None:
    both("in_strings", document.encode(), sorted(offsets))


def test_in_strings_knows_escapes() -> None:
    document = rb'{"a\"b": "c\\", "d": 12}'
    inside = speed.in_strings(document, list(range(len(document))))
    shown = bytes(byte for byte, inner in zip(document, inside, strict=True) if inner)
    assert shown == rb"a\"bc\\d"
