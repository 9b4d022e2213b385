"""Messages of both sides: what is encoded is decoded, and nothing else is."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.errors import ClientFault, TargetFault
from taskgate.protocols.postgres import backend, frontend
from taskgate.protocols.postgres.backend import Report, report
from taskgate.protocols.postgres.fields import Field
from taskgate.protocols.postgres.frontend import Bind, Execute, Named, Parse, Query

TEXT = st.binary(max_size=30).map(lambda data: data.replace(b"\0", b"."))
FORMATS = st.lists(st.integers(0, 1), max_size=4).map(tuple)
FIELDS = st.lists(
    st.builds(
        Field,
        TEXT,
        st.integers(0, 2**32 - 1),
        st.integers(-5, 1600),
        st.integers(0, 2**32 - 1),
        st.integers(-2, 300),
        st.integers(-1, 1000),
        st.integers(0, 1),
    ),
    max_size=5,
).map(tuple)


@given(TEXT, TEXT, st.lists(st.integers(0, 2**32 - 1), max_size=5).map(tuple))
def test_parse(name: bytes, text: bytes, types: tuple[int, ...]) -> None:
    encoded = Parse(name, text, types).encode()
    assert Parse.decode(encoded, 0, len(encoded)) == Parse(name, text, types)
    encoded = Query(text).encode()
    assert Query.decode(encoded, 0, len(encoded)) == Query(text)


@given(TEXT, TEXT, st.lists(st.none() | st.binary(max_size=20), max_size=5).map(tuple), FORMATS, st.integers(0, 2))
def test_bind(portal: bytes, statement: bytes, values: Any, results: tuple[int, ...], how: int) -> None:
    formats = ((), (1,), (0,) * len(values))[how]
    bind = Bind(portal, statement, formats, values, results)
    framed = b"before" + bind.encode() + b"behind"
    assert Bind.decode(framed, 6, len(framed) - 6) == bind


@given(TEXT, st.integers(-(2**31), 2**31 - 1), st.sampled_from([b"S", b"P"]))
def test_execute_describe_close(name: bytes, rows: int, kind: bytes) -> None:
    encoded = Execute(name, rows).encode()
    assert Execute.decode(encoded, 0, len(encoded)) == Execute(name, rows)
    for encoded in (frontend.describe(kind, name), frontend.close(kind, name)):
        assert Named.decode(encoded, 0, len(encoded)) == Named(kind, name)


@given(FIELDS)
def test_row_description(fields: tuple[Field, ...]) -> None:
    encoded = backend.row_description(fields)
    assert backend.decode_row_description(encoded, 0, len(encoded)) == fields


@given(st.lists(st.none() | st.binary(max_size=20), max_size=6).map(tuple))
def test_data_row(cells: tuple[bytes | None, ...]) -> None:
    encoded = backend.data_row(cells)
    assert backend.decode_data_row(encoded, 0, len(encoded)) == cells


def test_report() -> None:
    encoded = report("ERROR", "42501", "no\0nul", detail="d", hint="h", position=3).encode(b"E")
    decoded = Report.decode(encoded, 0, len(encoded))
    assert (decoded.sqlstate, decoded.text, decoded.ends_session) == ("42501", "nonul", False)
    assert decoded.fields[0x50] == b"3"
    assert decoded.encode(b"E") == encoded


@pytest.mark.parametrize(
    ("tag", "rows"),
    [(b"SELECT 5", 5), (b"INSERT 0 7", 7), (b"UPDATE 0", 0), (b"BEGIN", 0), (b"", 0), (b"5", 0), (b"CREATE TABLE", 0)],
)
def test_rows_of(tag: bytes, rows: int) -> None:
    assert backend.rows_of(tag) == rows


CLIENT: dict[bytes, Callable[[bytes, int, int], Any]] = {
    b"Q": Query.decode,
    b"P": Parse.decode,
    b"B": Bind.decode,
    b"D": Named.decode,
    b"C": Named.decode,
    b"E": Execute.decode,
    b"f": frontend.decode_copy_fail,
}
SERVER: dict[bytes, Callable[[bytes, int, int], Any]] = {
    b"E": Report.decode,
    b"S": backend.decode_parameter_status,
    b"K": backend.decode_backend_key,
    b"Z": backend.decode_ready,
    b"C": backend.decode_command_complete,
    b"A": backend.decode_notification,
    b"t": backend.decode_parameter_description,
    b"G": backend.decode_copy_response,
    b"D": backend.decode_data_row,
    b"T": backend.decode_row_description,
}


def fuzz(body: bytes) -> None:
    """Every decoder either understands exactly this body or raises its side's fault, whatever stands behind it."""
    for decoders, fault in ((CLIENT, ClientFault), (SERVER, TargetFault)):
        for kind, decode in decoders.items():
            framed = kind + (len(body) + 4).to_bytes(4, "big") + body + b"\0\1\0\0behind"
            try:
                decode(framed, 0, 5 + len(body))
            except fault:  # type: ignore[misc]
                continue


@given(st.binary(max_size=60))
def test_noise(body: bytes) -> None:
    fuzz(body)


@given(
    st.sampled_from(
        [
            Bind(b"p", b"s", (0, 1), (b"x", None), (1,)).encode(),
            Parse(b"s", b"SELECT 1", (23,)).encode(),
            Execute(b"p", 5).encode(),
            backend.row_description((Field(b"a", 1, 2, 3, 4, 5, 0),)),
            report("ERROR", "42501", "x").encode(b"E"),
        ]
    ),
    st.integers(5, 80),
    st.integers(0, 255),
)
def test_almost_right(encoded: bytes, at: int, value: int) -> None:
    position = at % len(encoded)
    fuzz(encoded[5:position] + bytes((value,)) + encoded[position + 1 :])
    fuzz(encoded[5:position])


@pytest.mark.long
def test_noise_for_minutes() -> None:
    source = random.Random(2)
    until = time.monotonic() + 120
    while time.monotonic() < until:
        fuzz(source.randbytes(source.randrange(200)))
