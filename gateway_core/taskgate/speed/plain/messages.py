"""Messages in a buffer."""

from __future__ import annotations


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
