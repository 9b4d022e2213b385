"""What is recognised as a whole, in both forms."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from taskgate.protocols.postgres import backend, frontend
from tests.unit.speed.forms import both, corrupted, damage, rows


@given(
    st.lists(
        st.sampled_from(
            [b"select", b" ", b"\t", b"1", b"007", b"9" * 18, b"9" * 19, b"(", b")", b",", b"=", b"<", b"a1", b"1.5",
             b";", b"'", b"-", b"/", b"*", b"$1", b"\x00", b"\xff", b"\x0b", b"\\", b"+", b"\n", b">"]
        ),
        max_size=12,
    ).map(b"".join)
)  # fmt: skip
def test_skeleton(text: bytes) -> None:
    found = both("skeleton", text)
    if found is not None and not text.isascii():
        raise AssertionError("beyond ASCII nothing is obvious")


names = st.sampled_from([b"", b"s", b"longer"])


codes = st.lists(st.integers(0, 1), max_size=2)


def bound(name: bytes, formats: list[int], parameters: list[bytes | None], results: list[int]) -> bytes:
    return frontend.Bind(b"", name, tuple(formats), tuple(parameters), tuple(results)).encode()


batches = st.builds(
    lambda parsed, name, formats, parameters, results, described: b"".join((
        frontend.Parse(name, b"select $1").encode() if parsed else b"",
        bound(name, formats, parameters, results),
        frontend.describe(b"P", b"") if described else b"",
        frontend.Execute(b"").encode(),
        frontend.SYNC,
    )),
    st.booleans(), names, codes, st.lists(st.one_of(st.none(), st.binary(max_size=5)), max_size=3), codes,
    st.booleans(),
)  # fmt: skip


@given(batches, damage)
def test_exchange_key(batch: bytes, harm: tuple[int, int, int, bool]) -> None:
    assert both("exchange_key", batch) is not None
    if harm[3]:
        both("exchange_key", corrupted(batch, *harm[:3]))


@given(st.one_of(st.binary(max_size=30), st.just(b"select 1"), st.just(b"select 1;"), st.just(b"select '1'")), damage)
def test_exchange_key_of_a_query(text: bytes, harm: tuple[int, int, int, bool]) -> None:
    query = frontend.Query(text).encode()
    both("exchange_key", query)
    if harm[3]:
        both("exchange_key", corrupted(query, *harm[:3]))


def test_only_what_differs_in_parameters_has_one_key() -> None:
    def key(batch: bytes) -> bytes:
        found = both("exchange_key", batch)
        assert isinstance(found, tuple)
        return bytes(found[0])

    end = frontend.Execute(b"").encode() + frontend.SYNC
    assert key(bound(b"s", [], [b"1"], []) + end) == key(bound(b"s", [], [b"23456"], []) + end)
    assert key(bound(b"s", [], [b"1"], []) + end) == key(bound(b"s", [], [None], []) + end)
    different = [
        bound(b"s", [], [b"1"], []) + end,
        bound(b"t", [], [b"1"], []) + end,
        bound(b"s", [0], [b"1"], []) + end,
        bound(b"s", [1], [b"1"], []) + end,
        bound(b"s", [], [b"1", b"2"], []) + end,
        bound(b"s", [], [b"1"], [1]) + end,
        bound(b"s", [], [b"1"], []) + frontend.describe(b"P", b"") + end,
        frontend.Parse(b"s", b"select $1").encode() + bound(b"s", [], [b"1"], []) + end,
    ]
    assert len({key(batch) for batch in different}) == len(different)


def test_what_is_no_exchange_has_no_key() -> None:
    end = frontend.Execute(b"").encode() + frontend.SYNC
    bind = bound(b"s", [], [b"1"], [])
    for batch in (
        bind,
        bind + frontend.SYNC,
        bind + end + frontend.SYNC,
        bind + bind + end,
        bind + frontend.describe(b"S", b"s") + end,
        bind + frontend.Execute(b"", 5).encode() + frontend.SYNC,
        bind + frontend.Execute(b"p").encode() + frontend.SYNC,
        frontend.Bind(b"p", b"s").encode() + end,
        frontend.Query(b"select 1").encode() * 2,
        bound(b"s", [], [b"x" * 4096], []) + end,
        # A Bind that is too long: what would be a Describe lies inside it.
        b"B" + struct.pack("!I", len(bind) - 1 + 7) + bind[5:] + frontend.describe(b"P", b"") + end,
        b"",
    ):
        assert both("exchange_key", batch) is None


@given(
    rows, st.sampled_from([b"", b"2\0\0\0\4"]), st.integers(-1, 4), st.sampled_from([b"I", b"T", b"E", b"x"]), damage
)
def test_exchange_reply(
    table: tuple[int, bytes], opening: bytes, columns: int, status: bytes, harm: tuple[int, int, int, bool]
) -> None:
    data = opening + table[1] + backend.message(b"C", b"SELECT 1\0") + backend.ready(status)
    found = both("exchange_reply", data, opening, columns)
    if table[1] and columns in (-1, table[0]) and status != b"x":
        assert isinstance(found, tuple)
        assert data[len(opening) : found[0]] == table[1]
    both("exchange_reply", data + b"Z", opening, columns)
    if harm[3]:
        both("exchange_reply", corrupted(data, *harm[:3]), opening, columns)
