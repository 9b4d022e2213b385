"""DataRows in both forms, on good bytes and bad ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate import speed
from taskgate.speed import plain
from tests.unit.speed.forms import (
    ALL_KINDS,
    both,
    compiled,
    corrupted,
    damage,
    data_row,
    outcome,
    rows,
    sieves,
    sift,
    unsifted,
)


@given(rows, st.data(), damage)
@settings(max_examples=600)
def test_rows(table: tuple[int, bytes], data: st.DataObject, harm: tuple[int, int, int, bool]) -> None:
    columns, frames = table
    if harm[3]:
        frames = corrupted(frames, *harm[:3])
    kinds = bytes(data.draw(st.lists(st.sampled_from([0, *ALL_KINDS]), min_size=columns, max_size=columns)))
    both("count_rows", frames, columns)
    replacements = [None, True, b"[redacted]", b"", lambda cell: cell[::-1], lambda cell: None]
    actions = data.draw(
        st.none() | st.lists(st.sampled_from(replacements), min_size=columns, max_size=columns).map(tuple)
    )
    sieve = data.draw(sieves)
    counted: list[list[int]] = [[0] * columns, [0] * columns]
    sifted = outcome(lambda: sift(compiled, frames, actions, counted[0], kinds, sieve))
    assert sifted == outcome(lambda: sift(plain, frames, actions, counted[1], kinds, sieve))
    assert counted[0] == counted[1]
    if not isinstance(sifted, tuple):
        return
    masked, joined, found = sifted
    assert compiled.count_rows(masked, columns) == compiled.count_rows(frames, columns)
    if actions is None:
        assert masked == frames
        whole = {at: masked[at + 4 : at + 4 + int.from_bytes(masked[at : at + 4], "big")] for _, at, _ in found}
        begin = 0
        for end, at, column in found:
            views = plain.views(whole[at], kinds[column])
            assert joined[begin:end] == b"".join(view + b"\0" for view, _ in views)
            begin = end
        assert begin == len(joined)
    edits = [(at, data.draw(st.sampled_from([None, b"", b"x" * 300]))) for _, at, _ in found]
    replaced = both("replace_cells", masked, edits)
    assert compiled.count_rows(replaced, columns) == compiled.count_rows(frames, columns)


@given(st.binary(max_size=80), st.integers(0, 3))
def test_rows_of_noise(noise: bytes, columns: int) -> None:
    both("count_rows", b"D" + noise, columns)
    assert outcome(lambda: unsifted(compiled, b"D" + noise, columns)) == outcome(
        lambda: unsifted(plain, b"D" + noise, columns)
    )


@pytest.mark.parametrize(
    ("frames", "columns"),
    [
        (b"D", 1),
        (b"D\0\0\0\x06\0\1", 1),  # the cell is missing
        (b"D\0\0\0\x0a\0\1\0\0\0\1", 1),  # the cell's byte is missing
        (b"D\0\0\0\x0a\0\1\xff\xff\xff\xfe", 1),  # length -2
        (b"D\0\0\0\x0a\0\1\x7f\xff\xff\xff", 1),  # length 2^31 - 1
        (b"D\0\0\0\x0b\0\1\xff\xff\xff\xffx", 1),  # a byte left over
        (b"D\0\0\0\x0a\0\2\xff\xff\xff\xff", 2),
        (b"D\0\0\0\x0a\0\1\xff\xff\xff\xff", 2),
        (b"D\xff\xff\xff\xff\0\1\xff\xff\xff\xff", 1),
        (b"D\0\0\0\x04", 0),
        (b"E\0\0\0\x06\0\0", 0),
    ],
)
def test_malformed_rows_are_refused(frames: bytes, columns: int) -> None:
    for module in (compiled, plain):
        with pytest.raises(ValueError):
            module.count_rows(frames, columns)
        with pytest.raises(ValueError):
            module.sift_rows(frames, (b"x",) * columns, [0] * columns, bytes(columns), module.Sieve(0, b"", {}))
        with pytest.raises(ValueError):
            unsifted(module, frames, columns)


def test_length_bytes_do_not_glue_to_a_value() -> None:
    """The length of a cell of 54 bytes ends in the byte `6`, a digit, right before the value."""
    cell = b"123-45-6789" + b"." * 43
    frames = data_row(cell, b"next")
    assert unsifted(speed, frames, 2) == (frames, cell + b"\0next\0", [(55, 7, 0), (60, 65, 1)])
