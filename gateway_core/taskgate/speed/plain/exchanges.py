"""Exchanges: batches that a client repeats but for parameters and numbers, and their answers."""

from __future__ import annotations

import re

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
