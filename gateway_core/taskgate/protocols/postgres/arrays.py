"""Binary arrays (array_send in PostgreSQL's arrayfuncs.c): int32 dimensions, flags, element type; per dimension int32
size and lower bound; then each element as int32 length and bytes."""

from __future__ import annotations

from collections.abc import Callable


def replace_elements(cell: bytes, replace: Callable[[bytes], bytes | None]) -> bytes | None:
    """The array with each element that is not NULL replaced; None as soon as `replace` gives None.

    Raises ValueError on a cell that is no such array."""
    dimensions = int.from_bytes(cell[:4], "big", signed=True)
    at = 12 + 8 * dimensions
    if not 0 <= dimensions <= 6 or len(cell) < at:
        raise ValueError("array cell")
    pieces = [cell[:at]]
    while at < len(cell):
        size = int.from_bytes(cell[at : at + 4], "big", signed=True)
        at += 4
        if size < -1 or at > len(cell) or size > len(cell) - at:
            raise ValueError("array cell")
        if size < 0:
            pieces.append(cell[at - 4 : at])
            continue
        replaced = replace(cell[at : at + size])
        if replaced is None:
            return None
        pieces += [len(replaced).to_bytes(4, "big"), replaced]
        at += size
    return b"".join(pieces)
