"""How a cell is read before it is searched, in both forms."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate import speed
from taskgate.speed import plain
from tests.unit.speed.forms import ALL_KINDS, both, cells, compiled, pieces


@given(cells, st.sampled_from(ALL_KINDS), st.booleans())
@settings(max_examples=1500)
def test_views(cell: bytes, kind: int, in_array: bool) -> None:
    both("views", cell, kind + (plain.ARRAY if in_array else 0))


@given(st.lists(pieces, max_size=12), st.sampled_from([plain.TEXT, plain.JSON, plain.OPAQUE]))
def test_places_of_a_view_lead_back_into_the_cell(parts: list[str], kind: int) -> None:
    cell = "".join(parts).encode()
    for view, places in speed.views(cell, kind):
        if places is None:
            assert view == cell
            continue
        assert len(places) == len(view) + 1
        assert places[-1] == len(cell)
        assert list(places) == sorted(places)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("4111111111111111", b"4111111111111111"),
        ("-4111111111111111.25", b"4111111111111111"),
        ("0", b""),
        ("0.5", b""),
    ],
)
def test_binary_numeric_reads_as_its_integer_part(number: str, expected: bytes) -> None:
    from decimal import Decimal

    from psycopg.types.numeric import DecimalBinaryDumper  # the encoding, by somebody else

    encoded = bytes(DecimalBinaryDumper(Decimal).dump(Decimal(number)) or b"")
    for module in (compiled, plain):
        assert module.views(encoded, module.NUMERIC) == [(expected, None)]
