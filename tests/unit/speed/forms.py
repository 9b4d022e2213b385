"""Both forms of the loops, what is fed to them, and the comparison of what comes out."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from taskgate.speed import plain

# missing: the compiler failed, and these tests have to say so
compiled: Any = importlib.import_module("taskgate.speed._compiled")

ALL_KINDS = (
    plain.TEXT, plain.JSON, plain.JSONB, plain.BYTEA, plain.OPAQUE, plain.INT8,
    plain.NUMERIC, plain.FLOAT8, plain.FLOAT_TEXT,
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
    """What both make of it."""
    found = outcome(lambda: getattr(compiled, name)(*arguments))
    assert found == outcome(lambda: getattr(plain, name)(*arguments)), (name, arguments)
    return found


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


def sift(module: Any, frames: bytes, actions: Any, counts: list[int], kinds: bytes, sieve: Any) -> Any:
    """As `sift_rows`, with the cells as (end, offset, column)."""
    rows, joined, ends, cells = module.sift_rows(frames, actions, counts, kinds, module.Sieve(*sieve))
    return rows, joined, list(zip(ends, cells[::2], cells[1::2], strict=True))


def unsifted(module: Any, frames: bytes, columns: int) -> Any:
    """Nothing masked, everything joined."""
    return sift(module, frames, None, [0] * columns, bytes([1] * columns), (8, b"", {}))
