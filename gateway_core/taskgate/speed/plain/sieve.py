"""Most cells hold nothing that is looked for, and most of those can be told by a look at their bytes that costs a
fraction of a search. What the sieve rejects holds no value that a detector would find, and so few candidates that
looking at them would have been free (`masking.scanner`).
"""

from __future__ import annotations

import re

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
