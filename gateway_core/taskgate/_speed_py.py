"""The equal of the compiled module in Python: same functions, same results, tested against each other."""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Callable, Iterator
from typing import Any, Literal
from zlib import crc32

Action = bytes | Literal[True] | Callable[[bytes], bytes | None] | None


def complete_messages(buffer: bytes | bytearray | memoryview, start: int, cap: int) -> int:
    """How far whole PostgreSQL messages (type byte, 4-byte length that counts itself) reach from `start`.

    Returns the offset behind the last whole message. Raises ValueError on a length below 4 or above `cap`.
    """
    offset, total = start, len(buffer)
    while total - offset >= 5:
        length = int.from_bytes(buffer[offset + 1 : offset + 5], "big")
        if length < 4 or length > cap:
            raise ValueError(f"message length {length}")
        if total - offset < length + 1:
            break
        offset += length + 1
    return offset


def message_runs(buffer: bytes | bytearray | memoryview, start: int, cap: int) -> list[tuple[int, int, int, int]]:
    """The whole PostgreSQL messages from `start`, neighbours of one type as one item: (type, start, end, count).

    The last item's end is the offset behind the last whole message (none whole: an empty list). Raises ValueError on a
    length below 4 or above `cap`.
    """
    runs: list[tuple[int, int, int, int]] = []
    offset, total = start, len(buffer)
    kind, begin, count = -1, start, 0
    while total - offset >= 5:
        length = int.from_bytes(buffer[offset + 1 : offset + 5], "big")
        if length < 4 or length > cap:
            raise ValueError(f"message length {length}")
        if total - offset < length + 1:
            break
        if buffer[offset] != kind:
            if count:
                runs.append((kind, begin, offset, count))
            kind, begin, count = buffer[offset], offset, 0
        count += 1
        offset += length + 1
    if count:
        runs.append((kind, begin, offset, count))
    return runs


# --- how a cell is read before it is searched -------------------------------------------------------------------------
#
# A cell is searched as one or more views of it, each ended by NUL, so that no match crosses cells and no length byte
# glues to a value. Views undo what hides a value without changing it for people: zero-width characters, digits of other
# alphabets, typographic spaces and dashes, JSON escapes, the hex form of bytea.

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


# --- the sieve --------------------------------------------------------------------------------------------------------
#
# Most cells hold nothing that is looked for, and most of those can be told by a look at their bytes that costs a
# fraction of a search. What the sieve rejects holds no value that a detector would find, and so few candidates that
# looking at them would have been free (`masking.scanner`).

CARD = 1  # 12 to 19 digits
SSN = 2
IBAN = 4
EVERYTHING = 8  # nothing is known of what is looked for: every view passes

_MOST_BEGINNINGS = 8
_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_CARD_WINDOW = re.compile(rb"(?=[0-9][0-9 \-]{11})(?![0-9 \-]{0,11}[ \-]{4})")
_CARD = re.compile(rb"(?<![0-9])(?=[2-6](?:[ \-]{0,3}[0-9]){11})")
_TOGETHER = re.compile(rb"[0-9]+")
_GROUP_FOLLOWS = re.compile(rb"[ \-]{1,3}[0-9]")
_SSN = re.compile(rb"[0-8][0-9]{2}[ \-][0-9]{2}[ \-][0-9]{4}")
_IBAN_WINDOW = re.compile(rb"(?<![A-Za-z0-9])(?=([A-Za-z]{2})[0-9]{2})")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


class Sieve:
    """Which views may hold something that is looked for. `numbers`: the shapes above; `marks`: bytes, never NUL,
    one of which is in every other value that is looked for; `iban_lengths` by country."""

    def __init__(self, numbers: int, marks: bytes, iban_lengths: dict[str, int]) -> None:
        self._numbers = numbers
        self._marks = frozenset(marks)
        self._iban = {
            country: re.compile(rb"(?:[ \-]?[A-Za-z0-9]){%d}(?![A-Za-z0-9])" % length)
            for country, length in iban_lengths.items()
        }

    def passes(self, view: bytes) -> bool:
        """False: nothing in it."""
        numbers = self._numbers
        if numbers & EVERYTHING or not self._marks.isdisjoint(view):
            return True
        digits = len(view.translate(None, _NO_DIGITS))
        return bool(
            (digits > _MOST_BEGINNINGS and numbers & CARD and self._card(view))
            or (digits > _MOST_BEGINNINGS and numbers & SSN and _SSN.search(view))
            or (digits > 1 and numbers & IBAN and self._country(view))
        )

    @staticmethod
    def _card(view: bytes) -> bool:
        if sum(1 for _ in _CARD_WINDOW.finditer(view)) > _MOST_BEGINNINGS:
            return True
        for match in _CARD.finditer(view):
            together = _TOGETHER.match(view, match.start())
            assert together is not None
            digits = together.group()
            if len(digits) > 19 or len(digits) < 12 or _GROUP_FOLLOWS.match(view, together.end()):
                return True
            values = [digit - 48 for digit in digits[::-1]]
            if (sum(values[::2]) + sum(_DOUBLED[value] for value in values[1::2])) % 10 == 0:
                return True
        return False

    def _country(self, view: bytes) -> bool:
        found = list(_IBAN_WINDOW.finditer(view))
        if len(found) > _MOST_BEGINNINGS:
            return True
        for match in found:
            shape = self._iban.get(match.group(1).decode().upper())
            if shape is not None and shape.match(view, match.start()):
                return True
        return False


def in_strings(document: bytes, offsets: list[int]) -> list[bool]:
    """For each offset, in ascending order: does it lie inside a JSON string of the document (its quotes excluded)?"""
    found: list[bool] = []
    inside = False
    at, index, total = 0, 0, len(document)
    while index < len(offsets):
        target = offsets[index]
        while at < target and at < total:
            byte = document[at]
            if inside and byte == 0x5C:
                at += 2
                continue
            if byte == 0x22:
                inside = not inside
            at += 1
        found.append(inside and (at > target or at >= total or document[at] != 0x22))
        index += 1
    return found


# --- DataRows ---------------------------------------------------------------------------------------------------------


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


# --- records ----------------------------------------------------------------------------------------------------------


def record_header(prefix: bytes, seq: int, kind: bytes, time: int, previous: bytes, commitment: bytes) -> bytes:
    """A record's header (`recording/header.py`). `prefix` ends where the sequence number begins; `previous` and
    `commitment` are SHA-256 digests."""
    return b'%b%d,"kind":"%b","time":%d,"previous":"%b","commitment":"%b"}' % (
        prefix, seq, kind, time, previous.hex().encode(), commitment.hex().encode(),
    )  # fmt: skip


def record_frame(header: bytes, sealed: bytes) -> bytes:
    """The journal's frame of a record (`recording/framing.py`): length, CRC-32, and `R`, the header's length, the
    header, the sealed content."""
    payload = b"R%b%b%b" % (len(header).to_bytes(2, "little"), header, sealed)
    return struct.pack("<II", len(payload), crc32(payload)) + payload


def seal_record(
    prefix: bytes,
    seq: int,
    kind: bytes,
    time: int,
    previous: bytes,
    plaintext: bytes,
    sha256: Callable[[bytes], Any],
    encrypt: Callable[[bytes, bytes, None], bytes],
) -> tuple[bytes, bytes]:
    """A record's frame and the digest of its header: the header commits to `plaintext` by its SHA-256, and `encrypt`
    seals it with the sequence number as its nonce (12 bytes)."""
    header = record_header(prefix, seq, kind, time, previous, sha256(plaintext).digest())
    return record_frame(header, encrypt(seq.to_bytes(12, "big"), plaintext, None)), sha256(header).digest()


# --- exchanges --------------------------------------------------------------------------------------------------------

_QUERY, _PARSE, _BIND, _DESCRIBE, _EXECUTE, _SYNC = b"QPBDES"
_DESCRIBE_PORTAL = b"D\x00\x00\x00\x06P\x00"
_EXECUTE_SYNC = b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00S\x00\x00\x00\x04"
_LONGEST_EXCHANGE = 4096


_UNSAFE = re.compile(rb"""['"`$\\;]|--|/\*|[^\x20-\x7e\t\n\r]""")
_NUMBER = re.compile(rb"(?<=[\s=<>(,])[0-9]{1,18}(?=[\s),]|\Z)")


def skeleton(text: bytes) -> bytes | None:
    """`text` with its number literals replaced by `0` (`sql/literals.py` says which); None where it holds anything
    that could make digits mean something else."""
    return None if _UNSAFE.search(text) else _NUMBER.sub(b"0", text)


def exchange_key(data: bytes) -> tuple[bytes, list[bytes | None]] | None:
    """What a client's batch has in common with others that differ in parameters only, and its parameters.

    A batch is [Parse] Bind [Describe] Execute Sync, all of them about unnamed portals without a row limit: the key is
    the batch without its parameters' lengths and values and without the length of Bind. Or it is a Query: the key is
    its text's skeleton where it has one, else its text, behind `Q` and `q`. Equal keys mean equal messages but for
    what was left out. None: `data` is not exactly one such batch, or is longer than is worth looking at."""
    total = len(data)
    if 6 <= total <= _LONGEST_EXCHANGE and data[0] == _QUERY:
        if int.from_bytes(data[1:5], "big") != total - 1 or data.find(b"\0", 5) != total - 1:
            return None
        end = total - 2 if data[total - 2] == 0x3B else total - 1
        shape = skeleton(data[5:end])
        return (b"q" + data[5 : total - 1] if shape is None else b"Q" + shape + data[end : total - 1]), []
    if not 22 <= total <= _LONGEST_EXCHANGE or data[total - 15 :] != _EXECUTE_SYNC:
        return None
    at = 0
    if data[0] == _PARSE:
        size = int.from_bytes(data[1:5], "big")
        if size > total - 1:
            return None
        at = 1 + size
    if total - at < 22 or data[at] != _BIND:
        return None
    size = int.from_bytes(data[at + 1 : at + 5], "big")
    end = at + 1 + size
    if size < 12 or end > total - 15:
        return None
    if data[end : total - 15] not in (b"", _DESCRIBE_PORTAL):
        return None
    if data[at + 5] != 0:  # a named portal
        return None
    name = data.find(b"\0", at + 6, end)
    if name < 0 or end - name < 5:
        return None
    formats = int.from_bytes(data[name + 1 : name + 3], "big")
    count_at = name + 3 + 2 * formats
    if formats > 0x7FFF or end - count_at < 2:
        return None
    count = int.from_bytes(data[count_at : count_at + 2], "big")
    if count > 0x7FFF:
        return None
    position = count_at + 2
    parameters: list[bytes | None] = []
    for _ in range(count):
        if end - position < 4:
            return None
        length = int.from_bytes(data[position : position + 4], "big", signed=True)
        position += 4
        if length == -1:
            parameters.append(None)
            continue
        if length < 0 or length > end - position:
            return None
        parameters.append(data[position : position + length])
        position += length
    if end - position < 2 or end - position != 2 + 2 * int.from_bytes(data[position : position + 2], "big"):
        return None
    return data[: at + 1] + data[at + 5 : count_at + 2] + data[position:], parameters


def exchange_reply(data: bytes, opening: bytes, columns: int) -> tuple[int, int, bytes, int] | None:
    """Whether `data` is one whole answer that begins with `opening` and goes on with any number of DataRow messages (of
    `columns` cells, of one number where that is -1, and every cell inside its row), one CommandComplete and one
    ReadyForQuery: the offset behind the rows, their number, the tag, the transaction's status. None: something else, or
    not all of it."""
    total = len(data)
    at = len(opening)
    if not data.startswith(opening):
        return None
    rows = 0
    while total - at >= 7 and data[at] == 0x44:
        size = int.from_bytes(data[at + 1 : at + 5], "big")
        end = at + 1 + size
        if size < 6 or end > total:
            return None
        count = int.from_bytes(data[at + 5 : at + 7], "big")
        if columns < 0:
            columns = count
        if count != columns:
            return None
        position = at + 7
        for _ in range(count):
            if end - position < 4:
                return None
            length = int.from_bytes(data[position : position + 4], "big", signed=True)
            position += 4
            if length < -1 or length > end - position:
                return None
            position += max(length, 0)
        if position != end:
            return None
        rows += 1
        at = end
    if total - at < 12 or data[at] != 0x43:
        return None
    size = int.from_bytes(data[at + 1 : at + 5], "big")
    end = at + 1 + size
    if size < 5 or end != total - 6 or data[end - 1] != 0 or 0 in data[at + 5 : end - 1]:
        return None
    if data[end : end + 5] != b"Z\0\0\0\5" or data[end + 5] not in b"ITE":
        return None
    return at, rows, data[at + 5 : end - 1], data[end + 5]
