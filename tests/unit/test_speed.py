"""The compiled module and its equal in Python: one behaviour, on good bytes and bad ones."""

from __future__ import annotations

import importlib
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate import _speed_py, speed
from taskgate.protocols.postgres import backend, frontend
from taskgate.recording.journal_reader import split_record

_speed: Any = importlib.import_module("taskgate._speed")  # missing: the compiler failed, and these tests have to say so

ALL_KINDS = (
    _speed_py.TEXT, _speed_py.JSON, _speed_py.JSONB, _speed_py.BYTEA, _speed_py.OPAQUE, _speed_py.INT8,
    _speed_py.NUMERIC, _speed_py.FLOAT8, _speed_py.FLOAT_TEXT,
)  # fmt: skip


def data_row(*cells: bytes | None) -> bytes:
    body = struct.pack("!h", len(cells)) + b"".join(
        b"\xff\xff\xff\xff" if cell is None else struct.pack("!i", len(cell)) + cell for cell in cells
    )
    return b"D" + struct.pack("!i", len(body) + 4) + body


def array_of(*elements: bytes | None) -> bytes:
    """A one-dimensional binary array of text."""
    body = b"".join(
        b"\xff\xff\xff\xff" if element is None else struct.pack("!i", len(element)) + element for element in elements
    )
    return struct.pack("!iiiii", 1, 1, 25, len(elements), 1) + body


def outcome(call: Callable[[], object]) -> object:
    """The result, memoryviews as lists, or the error's type: what both forms must agree on."""
    try:
        result = call()
    except ValueError:
        return ValueError
    if isinstance(result, list):
        return [
            (item[0], None if item[1] is None else item[1].tolist())
            if isinstance(item, tuple) and len(item) == 2
            else item
            for item in result
        ]
    return result


def both(name: str, *arguments: object) -> object:
    compiled = outcome(lambda: getattr(_speed, name)(*arguments))
    plain = outcome(lambda: getattr(_speed_py, name)(*arguments))
    assert compiled == plain, (name, arguments)
    return compiled


# Text that exercises every branch of the reading of a cell, beside anything at all.
pieces = st.sampled_from(
    ["bob@example.com", "4111 1111", "\\u0040", "\\\\u0062", "\\u00e9", "\\ud83d", "\\n", "\\\\n", '\\"', "\\x6162",
     "\\xzz", "\\", "\u00a0", "\u00ad", "\u200b", "\u2013", "\u2212", "\u3000", "\ufeff", "４", "\u0664", "\u06f4",
     "\U0001d7cf", "é", "“", "{", '"', ",", "😀", "\u034f", "\u180e", "\ufe0f", "\ufe63", "\uff40", "\u2060"]
)  # fmt: skip
cells = st.one_of(
    st.binary(max_size=24),
    st.lists(pieces, max_size=8).map(lambda parts: "".join(parts).encode()),
    st.lists(pieces, max_size=4).map(lambda parts: b"\x01" + "".join(parts).encode()),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: struct.pack("!q", number)),
    st.floats().map(lambda number: struct.pack("!d", number)),
    st.floats().map(lambda number: repr(number).encode()),
    st.lists(st.one_of(st.none(), st.binary(max_size=9)), max_size=4).map(lambda parts: array_of(*parts)),
    st.lists(st.integers(0, 9999), max_size=9).flatmap(
        lambda groups: st.integers(-3, 9).map(
            lambda weight: struct.pack("!hhHh", len(groups), weight, 0, 0) + struct.pack(f"!{len(groups)}h", *groups)
        )
    ),
)


def corrupted(frames: bytes, at: int, byte: int, cut: int) -> bytes:
    if not frames:
        return frames
    damaged = bytearray(frames)
    damaged[at % len(damaged)] = byte
    return bytes(damaged[: len(damaged) - cut % 4])


rows = st.integers(0, 4).flatmap(
    lambda columns: st.lists(st.lists(st.one_of(st.none(), cells), min_size=columns, max_size=columns), max_size=5).map(
        lambda table: (columns, b"".join(data_row(*row) for row in table))
    )
)
sieves = st.tuples(
    st.integers(0, 15), st.sampled_from([b"", b"@", b":.", b"\xe9", b"Ab"]), st.just({"DE": 22, "GB": 22, "NO": 15})
)
damage = st.tuples(st.integers(0, 400), st.integers(0, 255), st.integers(0, 3), st.booleans())


def test_compiled_is_what_runs() -> None:
    assert speed.COMPILED is (os.environ.get("TASKGATE_PURE_PYTHON") != "1")


def test_python_can_be_forced() -> None:
    code = "from taskgate import speed; print(speed.COMPILED, speed.views.__module__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TASKGATE_PURE_PYTHON": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "taskgate._speed_py"]


def test_every_name_is_in_both() -> None:
    for name in speed.__all__:
        if name != "COMPILED":
            assert hasattr(_speed, name)
            assert hasattr(_speed_py, name)


@given(st.lists(st.tuples(st.sampled_from(b"DCZE"), st.binary(max_size=12)), max_size=8), damage)
def test_message_runs(messages: list[tuple[int, bytes]], harm: tuple[int, int, int, bool]) -> None:
    buffer = b"".join(bytes([kind]) + struct.pack("!i", len(body) + 4) + body for kind, body in messages)
    if harm[3]:
        buffer = corrupted(buffer, *harm[:3])
    runs = both("message_runs", buffer, 0, 64)
    end = both("complete_messages", buffer, 0, 64)
    if runs is ValueError:
        assert end is ValueError
        return
    assert isinstance(runs, list)
    assert (runs[-1][2] if runs else 0) == end
    for before, after in pairwise(runs):
        assert before[2] == after[1]
        assert before[0] != after[0]


@given(cells, st.sampled_from(ALL_KINDS), st.booleans())
@settings(max_examples=1500)
def test_views(cell: bytes, kind: int, in_array: bool) -> None:
    both("views", cell, kind + (_speed_py.ARRAY if in_array else 0))


@given(st.lists(pieces, max_size=12), st.sampled_from([_speed_py.TEXT, _speed_py.JSON, _speed_py.OPAQUE]))
def test_places_of_a_view_lead_back_into_the_cell(parts: list[str], kind: int) -> None:
    cell = "".join(parts).encode()
    for view, places in speed.views(cell, kind):
        if places is None:
            assert view == cell
            continue
        assert len(places) == len(view) + 1
        assert places[-1] == len(cell)
        assert list(places) == sorted(places)


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
    sifted = outcome(lambda: sift(_speed, frames, actions, counted[0], kinds, sieve))
    assert sifted == outcome(lambda: sift(_speed_py, frames, actions, counted[1], kinds, sieve))
    assert counted[0] == counted[1]
    if not isinstance(sifted, tuple):
        return
    masked, joined, found = sifted
    assert _speed.count_rows(masked, columns) == _speed.count_rows(frames, columns)
    if actions is None:
        assert masked == frames
        whole = {at: masked[at + 4 : at + 4 + int.from_bytes(masked[at : at + 4], "big")] for _, at, _ in found}
        begin = 0
        for end, at, column in found:
            views = _speed_py.views(whole[at], kinds[column])
            assert joined[begin:end] == b"".join(view + b"\0" for view, _ in views)
            begin = end
        assert begin == len(joined)
    edits = [(at, data.draw(st.sampled_from([None, b"", b"x" * 300]))) for _, at, _ in found]
    replaced = both("replace_cells", masked, edits)
    assert _speed.count_rows(replaced, columns) == _speed.count_rows(frames, columns)


@given(st.binary(max_size=80), st.integers(0, 3))
def test_rows_of_noise(noise: bytes, columns: int) -> None:
    both("count_rows", b"D" + noise, columns)
    assert outcome(lambda: unsifted(_speed, b"D" + noise, columns)) == outcome(
        lambda: unsifted(_speed_py, b"D" + noise, columns)
    )


def sift(module: Any, frames: bytes, actions: Any, counts: list[int], kinds: bytes, sieve: Any) -> Any:
    """As `sift_rows`, with the cells as (end, offset, column)."""
    rows, joined, ends, cells = module.sift_rows(frames, actions, counts, kinds, module.Sieve(*sieve))
    return rows, joined, list(zip(ends, cells[::2], cells[1::2], strict=True))


def unsifted(module: Any, frames: bytes, columns: int) -> Any:
    """Nothing masked, everything joined."""
    return sift(module, frames, None, [0] * columns, bytes([1] * columns), (8, b"", {}))


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
    assert _speed.Sieve(*sieve).passes(view) is _speed_py.Sieve(*sieve).passes(view)


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
    for module in (_speed, _speed_py):
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
    for module in (_speed, _speed_py):
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
    for module in (_speed, _speed_py):
        assert module.views(encoded, module.NUMERIC) == [(expected, None)]


# --- records and exchanges --------------------------------------------------------------------------------------------

digests = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, 2**63 - 1)


@given(st.binary(max_size=80), numbers, st.sampled_from([b"action", b"result"]), numbers, digests, digests)
def test_record_header(prefix: bytes, seq: int, kind: bytes, time: int, previous: bytes, commitment: bytes) -> None:
    both("record_header", prefix, seq, kind, time, previous, commitment)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_record_frame(header: bytes, sealed: bytes) -> None:
    both("record_frame", header, sealed)


def test_a_header_too_long_for_its_frame_is_an_error_in_both() -> None:
    for module in (_speed, _speed_py):
        with pytest.raises(OverflowError):
            module.record_frame(b"x" * 65_536, b"")


@given(st.binary(max_size=80), numbers, numbers, digests, st.binary(max_size=300))
def test_seal_record(prefix: bytes, seq: int, time: int, previous: bytes, plaintext: bytes) -> None:
    key = AESGCM(b"k" * 32)
    frame, head = both("seal_record", prefix, seq, b"action", time, previous, plaintext, sha256, key.encrypt)  # type: ignore[misc]
    header, sealed = split_record(frame[8:])
    assert head == sha256(header).digest()
    assert key.decrypt(seq.to_bytes(12, "big"), sealed, None) == plaintext


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
