"""How a cell is read before it is searched.

A cell is searched as one or more views of it, each ended by NUL, so that no match crosses cells and no length byte
glues to a value. Views undo what hides a value without changing it for people: zero-width characters, digits of other
alphabets, typographic spaces and dashes, JSON escapes, the hex form of bytea.
"""

from __future__ import annotations

import struct
from array import array

SKIP = 0
TEXT = 1  # as it stands, and with backslash escapes undone where there are any
JSON = 2  # with escapes undone
JSONB = 3  # binary jsonb: a version byte, then as JSON
BYTEA = 4  # text form of bytea: `\x…`, or as TEXT
OPAQUE = 5  # text form of a type nobody knows: as TEXT, and every `\x…` inside decoded
INT8 = 6  # binary
NUMERIC = 7  # binary
FLOAT8 = 8  # binary
FLOAT_TEXT = 9
ARRAY = 16  # added to another kind: binary array of it

_DASH, _SPACE = 0x2D, 0x20
_JSON_SPACES = frozenset(b"ntrbfv")
_JSON_LITERALS = frozenset(b"\"/'")
_HEX = {**{c: c - 48 for c in b"0123456789"}, **{c: c - 87 for c in b"abcdef"}, **{c: c - 55 for c in b"ABCDEF"}}
_MOST_DIGIT_GROUPS = 7  # of four digits: no detector looks for a number of more than 28


def _folded(cell: bytes, at: int) -> tuple[int, int]:
    """What the UTF-8 sequence at `at` reads as: (byte or -1 to drop it, length); length 0: as it stands."""
    b = cell[at]
    left = len(cell) - at
    c = cell[at + 1] if left > 1 else 0
    if b == 0xC2:
        if c == 0xA0:
            return _SPACE, 2
        if c == 0xAD:
            return -1, 2
    elif b == 0xCD and c == 0x8F:
        return -1, 2
    elif b == 0xD9 and 0xA0 <= c <= 0xA9:
        return c - 0xA0 + 48, 2
    elif b == 0xDB and 0xB0 <= c <= 0xB9:
        return c - 0xB0 + 48, 2
    if left < 3:
        return 0, 0
    d = cell[at + 2]
    if b == 0xE2:
        if c == 0x80:
            if 0x80 <= d <= 0x8A or d == 0xAF:
                return _SPACE, 3
            if 0x8B <= d <= 0x8F or 0xAA <= d <= 0xAE:
                return -1, 3
            if 0x90 <= d <= 0x95:
                return _DASH, 3
        elif c == 0x81:
            if d == 0x9F:
                return _SPACE, 3
            if 0xA0 <= d <= 0xAF:
                return -1, 3
        elif c == 0x88 and d == 0x92:
            return _DASH, 3
    elif b == 0xE1 and c == 0xA0 and d == 0x8E:
        return -1, 3
    elif b == 0xE3 and c == 0x80 and d == 0x80:
        return _SPACE, 3
    elif b == 0xEF:
        if c == 0xBB and d == 0xBF:
            return -1, 3
        if c == 0xBC and 0x81 <= d <= 0xBF:
            return d - 0x81 + 0x21, 3
        if c == 0xBD and 0x80 <= d <= 0x9E:
            return d - 0x80 + 0x60, 3
        if c == 0xB8 and 0x80 <= d <= 0x8F:
            return -1, 3
        if c == 0xB9:
            if d == 0xA3:
                return _DASH, 3
            if d == 0xAB:
                return 0x40, 3
    elif b == 0xF0 and left > 3 and c == 0x9D and d == 0x9F and 0x8E <= cell[at + 3] <= 0xBF:
        return (cell[at + 3] - 0x8E) % 10 + 48, 4
    return 0, 0


def _code_point(cell: bytes, at: int) -> int:
    """The four hex digits at `at`; -1 where they are not."""
    value = 0
    for offset in range(at, at + 4):
        digit = _HEX.get(cell[offset], -1) if offset < len(cell) else -1
        if digit < 0:
            return -1
        value = value * 16 + digit
    return value


def _fold(cell: bytes, escapes: bool) -> tuple[bytes, list[int]]:
    out, places = bytearray(), []
    at, total = 0, len(cell)
    while at < total:
        byte = cell[at]
        if byte == 0x5C and escapes:
            end = at
            while end < total and cell[end] == 0x5C:
                end += 1
            follower = cell[end] if end < total else 0
            code = _code_point(cell, end + 1) if follower == 0x75 else -1
            if code >= 0:
                if code >= 0x80:
                    sequence = b"?" if 0xD800 <= code <= 0xDFFF else chr(code).encode()
                    value, length = _folded(sequence, 0)
                    sequence = sequence if not length else b"" if value < 0 else bytes([value])
                else:
                    sequence = bytes([code or _SPACE])
                out += sequence
                places += [at] * len(sequence)
                at = end + 5
            elif follower in _JSON_SPACES:
                out.append(_SPACE)
                places.append(at)
                at = end + 1
            elif follower in _JSON_LITERALS:
                out.append(follower)
                places.append(at)
                at = end + 1
            else:
                out.append(0x5C)
                places.append(at)
                at = end
            continue
        length = 0
        if byte >= 0x80:
            value, length = _folded(cell, at)
        if length:
            if value >= 0:
                out.append(value)
                places.append(at)
            at += length
        else:
            out.append(byte)
            places.append(at)
            at += 1
    places.append(total)
    return bytes(out), places


def _hex_runs(cell: bytes) -> tuple[bytes, list[int]]:
    """What stands in hex behind every `\\x`, each run ended by a line feed."""
    out, places = bytearray(), []
    at, total = 0, len(cell)
    while at + 1 < total:
        if cell[at] != 0x5C or cell[at + 1] != 0x78:
            at += 1
            continue
        at += 2
        while at + 1 < total and cell[at] in _HEX and cell[at + 1] in _HEX:
            out.append(_HEX[cell[at]] * 16 + _HEX[cell[at + 1]])
            places.append(at)
            at += 2
        out.append(0x0A)
        places.append(at)
    places.append(total)
    return bytes(out), places


def _numeric(cell: bytes) -> bytes:
    """The integer part of a binary numeric; nothing where it is longer than anything searched for, or no number."""
    if len(cell) < 8:
        raise ValueError("numeric cell")
    groups, weight, sign = (int.from_bytes(cell[at : at + 2], "big", signed=True) for at in (0, 2, 4))
    if groups < 0 or len(cell) != 8 + 2 * groups:
        raise ValueError("numeric cell")
    if sign not in (0, 0x4000) or not 0 <= weight < _MOST_DIGIT_GROUPS:
        return b""
    out = bytearray()
    for index in range(weight + 1):
        group = int.from_bytes(cell[8 + 2 * index : 10 + 2 * index], "big") if index < groups else 0
        if group > 9999:
            raise ValueError("numeric cell")
        out += b"%04d" % group
    return bytes(out).lstrip(b"0")


def _integral(value: float) -> bytes:
    return b"%d" % int(value) if abs(value) < 1e18 and value == int(value) else b""


def _float_text(cell: bytes) -> bytes:
    if len(cell) > 40 or not cell or set(cell) - set(b"0123456789+-.eE"):
        return b""
    try:
        return _integral(float(cell))
    except ValueError:
        return b""


def _elements(cell: bytes) -> list[bytes]:
    """The elements of a binary array that are not NULL."""
    if len(cell) < 12:
        raise ValueError("array cell")
    dimensions = int.from_bytes(cell[:4], "big", signed=True)
    at = 12 + 8 * dimensions
    if not 0 <= dimensions <= 6 or at > len(cell):
        raise ValueError("array cell")
    found = []
    while at < len(cell):
        size = int.from_bytes(cell[at : at + 4], "big", signed=True)
        at += 4
        if size < -1 or at > len(cell) or size > len(cell) - at:
            raise ValueError("array cell")
        if size >= 0:
            found.append(cell[at : at + size])
            at += size
    return found


def views(cell: bytes, kind: int) -> list[tuple[bytes, memoryview | None]]:
    """The views of a cell: (what is searched, where each of its bytes stands in the cell and, last, the cell's length).

    The second is None where both are the same, or where the view is no part of the cell (binary numbers). Raises
    ValueError on a cell that is not of its kind."""
    if kind >= ARRAY:
        return [view for element in _elements(cell) for view in views(element, kind - ARRAY)]
    if kind == INT8:
        if len(cell) != 8:
            raise ValueError("int8 cell")
        return [(b"%d" % int.from_bytes(cell, "big", signed=True), None)]
    if kind == NUMERIC:
        return [(_numeric(cell), None)]
    if kind == FLOAT8:
        if len(cell) != 8:
            raise ValueError("float8 cell")
        return [(_integral(struct.unpack("!d", cell)[0]), None)]
    if kind == FLOAT_TEXT:
        return [(_float_text(cell), None)]
    if kind == JSONB:
        if cell[:1] != b"\x01":
            raise ValueError("jsonb cell")
        kind = JSON
        cell_start, cell = 1, cell[1:]
    else:
        cell_start = 0
    if kind == BYTEA and cell[:2] == b"\\x":
        return [_placed(*_hex_runs(cell))]
    escaped = b"\\" in cell
    found = []
    if kind != JSON or not escaped:
        found.append(_view(cell, cell_start, escapes=False))
    if escaped:
        found.append(_view(cell, cell_start, escapes=True))
        if kind == OPAQUE and b"\\x" in cell:
            found.append(_placed(*_hex_runs(cell)))
    return found


def _view(cell: bytes, start: int, *, escapes: bool) -> tuple[bytes, memoryview | None]:
    if cell.isascii() and not escapes and not start:
        return cell, None
    folded, places = _fold(cell, escapes)
    return _placed(folded, [place + start for place in places])


def _placed(view: bytes, places: list[int]) -> tuple[bytes, memoryview]:
    return view, memoryview(array("i", places).tobytes()).cast("i")
