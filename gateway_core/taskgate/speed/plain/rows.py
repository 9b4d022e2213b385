"""DataRows: counted, masked, and joined for the search."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import Literal

from taskgate.speed.plain.sieve import Sieve
from taskgate.speed.plain.views import views

Action = bytes | Literal[True] | Callable[[bytes], bytes | None] | None


def _cells(frames: bytes, columns: int) -> Iterator[tuple[int, int, int]]:
    """Every cell as (offset of its length, length or -1, column)."""
    at, total = 0, len(frames)
    while at < total:
        if total - at < 7 or frames[at] != 0x44:
            raise ValueError("no whole DataRow")
        length = int.from_bytes(frames[at + 1 : at + 5], "big")
        end = at + 1 + length
        if length < 6 or end > total:
            raise ValueError("DataRow length")
        if int.from_bytes(frames[at + 5 : at + 7], "big") != columns:
            raise ValueError("DataRow column count")
        at += 7
        for column in range(columns):
            if end - at < 4:
                raise ValueError("DataRow cell length")
            size = int.from_bytes(frames[at : at + 4], "big", signed=True)
            if size < -1 or size > end - at - 4:
                raise ValueError("DataRow cell length")
            yield at, size, column
            at += 4 + max(size, 0)
        if at != end:
            raise ValueError("DataRow trailing bytes")


def count_rows(frames: bytes | memoryview, columns: int) -> int:
    """How many DataRow messages `frames` are. Raises ValueError unless they are whole, of `columns` columns each, every
    cell's length ≥ -1 and inside its message, nothing left over."""
    rows, at = 0, 0
    frames = bytes(frames)
    for _ in _cells(frames, columns):
        pass
    while at < len(frames):
        at += 1 + int.from_bytes(frames[at + 1 : at + 5], "big")
        rows += 1
    return rows


def sift_rows(
    frames: bytes, actions: tuple[Action, ...] | None, counts: list[int], kinds: bytes, sieve: Sieve
) -> tuple[bytes, bytes, memoryview, memoryview]:
    """The rows with masked cells replaced, and what is to be searched in the others.

    `actions`, one a column (None: no column has one, and the same object is returned): None keeps a cell, bytes replace
    it, True makes it NULL, a function gives what becomes of its bytes (None is NULL). NULL stays NULL. The number of
    replaced cells is added to `counts` (one a column).

    `kinds`, one a column: how the cells of columns without an action are searched. The views of a cell of which the
    sieve lets one pass are joined, each ended by NUL. Of each such cell one list has where its views end in what is
    joined, the other, two numbers a cell: offset of its length in the rows returned, column.

    Raises ValueError as `count_rows` and `views`."""
    edits: list[tuple[int, bytes | None]] = []
    joined = bytearray()
    ends, found = array("i"), array("i")
    masked = [0] * len(kinds)
    shift = 0  # by how much the rewritten rows are longer, so far
    if len(counts) != len(kinds) or (actions is not None and len(actions) != len(kinds)):
        raise ValueError("actions, counts and kinds")
    for at, size, column in _cells(frames, len(kinds)):
        action = actions[column] if actions is not None else None
        if action is None:
            if size > 0 and kinds[column]:
                read = b"".join(view + b"\0" for view, _ in views(frames[at + 4 : at + 4 + size], kinds[column]))
                if sieve.passes(read):
                    joined += read
                    ends.append(len(joined))
                    found.extend((at + shift, column))
        elif size >= 0:
            masked[column] += 1
            value: bytes | None
            if action is True:
                value = None
            elif isinstance(action, bytes):
                value = action
            else:
                value = action(frames[at + 4 : at + 4 + size])
            edits.append((at, value))
            shift += len(value or b"") - size
    for column, number in enumerate(masked):
        if number:
            counts[column] += number
    rewritten = frames if actions is None else replace_cells(frames, edits)
    return rewritten, bytes(joined), memoryview(ends), memoryview(found)


def replace_cells(frames: bytes | memoryview, edits: list[tuple[int, bytes | None]]) -> bytes:
    """Checked rows with cells replaced: (offset of the cell's length, its new bytes or None for NULL), ascending."""
    frames = bytes(frames)
    out = bytearray()
    at = index = 0
    while at < len(frames):
        end = at + 1 + int.from_bytes(frames[at + 1 : at + 5], "big")
        head, copied = len(out), at
        while index < len(edits) and edits[index][0] < end:
            offset, value = edits[index]
            size = int.from_bytes(frames[offset : offset + 4], "big", signed=True)
            out += frames[copied:offset]
            out += b"\xff\xff\xff\xff" if value is None else len(value).to_bytes(4, "big") + value
            copied = offset + 4 + max(size, 0)
            index += 1
        out += frames[copied:end]
        out[head + 1 : head + 5] = (len(out) - head - 1).to_bytes(4, "big")
        at = end
    return bytes(out)
