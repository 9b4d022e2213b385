"""The equal of the compiled module in Python: same functions, same results, tested against each other."""

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
