"""COPY's text and CSV formats as the server writes them (PostgreSQL documentation, COPY, "File Formats")."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from taskgate.errors import ClientFault

_ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_LETTERS = {value: letter for letter, value in _ESCAPED.items()}
_TRUE = frozenset({"true", "on", "1", "yes", "match", ""})
_UNDONE = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a row: as it stands there, and what it says (None: NULL)."""

    raw: bytes
    value: bytes | None


@dataclass(frozen=True)
class CopyFormat:
    """How rows are written. The defaults are those of the text format; `csv()` gives those of CSV."""

    delimiter: bytes = b"\t"
    null: bytes = b"\\N"
    quote: bytes | None = None  # None: the text format
    escape: bytes = b""
    header: bool = False

    @classmethod
    def csv(
        cls,
        delimiter: bytes = b",",
        null: bytes = b"",
        quote: bytes = b'"',
        escape: bytes = b"",
        *,
        header: bool = False,
    ) -> CopyFormat:
        return cls(delimiter, null, quote, escape or quote, header)

    @classmethod
    def of(cls, options: Mapping[str, str]) -> CopyFormat:
        """From the options of a COPY statement, names in lower case, a value left out as the empty string.

        Raises ClientFault for the binary format and for what is not one byte long."""
        given = options.get("format", "text").lower()
        if given not in ("text", "csv"):
            raise ClientFault(f"COPY format {given} cannot be masked", hint="Use the text or CSV format.")
        quoted = given == "csv"
        header = options.get("header", "false").lower() in _TRUE
        single = {}
        for name, default in (("delimiter", "," if quoted else "\t"), ("quote", '"'), ("escape", "")):
            single[name] = (options.get(name) or default).encode()
            if len(single[name]) > 1:
                raise ClientFault(f"COPY {name} must be a single one-byte character")
        null = options.get("null", "" if quoted else "\\N").encode()
        if quoted:
            return cls.csv(single["delimiter"], null, single["quote"], single["escape"], header=header)
        return cls(single["delimiter"], null, header=header)

    @property
    def searchable_raw(self) -> bool:
        """Whatever a detector would find in a value it also finds in the row as it stands."""
        if self.quote is not None and (self.quote != b'"' or self.escape not in (b'"', b"\\")):
            return False
        return self.delimiter in (b"\t", b",", b";", b"|")

    def raw_cells(self, row: bytes) -> list[bytes] | None:
        """The values of a row as they stand there, where cutting at every delimiter gives them; else None."""
        if (self.quote if self.quote is not None else b"\\" + self.delimiter) in row:
            return None
        return row.split(self.delimiter)

    def cells(self, row: bytes) -> list[Cell]:
        """The values of a row, which has no line feed at its end."""
        return self._text_cells(row) if self.quote is None else self._csv_cells(row)

    def read(self, raw: bytes) -> bytes:
        """What a value of `raw_cells` says, which is not NULL."""
        return _UNDONE.sub(self._undone, raw) if self.quote is None and b"\\" in raw else raw

    def written(self, value: bytes | None) -> bytes:
        """A value as it stands in a row."""
        if value is None:
            return self.null
        if self.quote is None:
            return self._specials.sub(self._escaped, value)
        if value == self.null or self._specials.search(value):
            inner = value.replace(self.escape, self.escape * 2)
            if self.escape != self.quote:
                inner = inner.replace(self.quote, self.escape + self.quote)
            return self.quote + inner + self.quote
        return value

    @cached_property
    def _specials(self) -> re.Pattern[bytes]:
        if self.quote is None:
            return re.compile(rb"[\\\x08\x0c\n\r\t\x0b" + re.escape(self.delimiter) + rb"]")
        return re.compile(rb"[\n\r" + re.escape(self.delimiter + self.quote + self.escape) + rb"]")

    @cached_property
    def _marks(self) -> re.Pattern[bytes]:
        if self.quote is None:
            return re.compile(rb"\\.|" + re.escape(self.delimiter), re.DOTALL)
        return re.compile(rb"[" + re.escape(self.delimiter + self.quote + self.escape) + rb"]")

    @staticmethod
    def _escaped(found: re.Match[bytes]) -> bytes:
        return b"\\" + _LETTERS.get(found[0], found[0])

    @staticmethod
    def _undone(found: re.Match[bytes]) -> bytes:
        return _ESCAPED.get(found[1], found[1])

    def _text_cells(self, row: bytes) -> list[Cell]:
        raws = self.raw_cells(row)
        if raws is None:
            cuts = [found.start() for found in self._marks.finditer(row) if found[0] == self.delimiter]
            raws = [
                row[begin:end] for begin, end in zip([0, *(cut + 1 for cut in cuts)], [*cuts, len(row)], strict=True)
            ]
        return [Cell(raw, None if raw == self.null else self.read(raw)) for raw in raws]

    def _csv_cells(self, row: bytes) -> list[Cell]:
        assert self.quote is not None
        if (raws := self.raw_cells(row)) is not None:
            return [Cell(raw, None if raw == self.null else raw) for raw in raws]
        cells: list[Cell] = []
        pieces: list[bytes] = []
        begin = last = done = 0
        quoted = inside = False
        for found in self._marks.finditer(row):
            at, mark = found.start(), found[0]
            if at < done:
                continue
            if not inside and mark == self.delimiter:
                pieces.append(row[last:at])
                cells.append(self._csv_cell(row[begin:at], pieces, quoted=quoted))
                pieces, quoted = [], False
                begin = last = at + 1
            elif not inside and mark == self.quote:
                pieces.append(row[last:at])
                quoted = inside = True
                last = at + 1
            elif inside and mark == self.escape and row[at + 1 : at + 2] in (self.quote, self.escape):
                pieces.append(row[last:at] + row[at + 1 : at + 2])
                last = done = at + 2
            elif inside and mark == self.quote:
                pieces.append(row[last:at])
                inside = False
                last = at + 1
        pieces.append(row[last:])
        cells.append(self._csv_cell(row[begin:], pieces, quoted=quoted))
        return cells

    def _csv_cell(self, raw: bytes, pieces: list[bytes], *, quoted: bool) -> Cell:
        return Cell(raw, None if not quoted and raw == self.null else b"".join(pieces))


class RowEnds:
    """Finds the ends of rows in a stream, each byte looked at once."""

    def __init__(self, layout: CopyFormat) -> None:
        self._layout = layout
        self._inside = False  # quotes, where the bytes looked at so far end
        if layout.quote is not None:
            self._marks = re.compile(rb"[\n" + re.escape(layout.quote + layout.escape) + rb"]")

    def find(self, buffer: bytearray, start: int) -> tuple[list[int], int]:
        """(offsets behind the line feed of each row that ends in `buffer[start:]`, where to go on next time)."""
        layout = self._layout
        if layout.quote is None:
            return self._lines(buffer, start), len(buffer)
        if layout.quote not in buffer[start:] and not self._inside:
            return self._lines(buffer, start), len(buffer)
        ends = []
        done = start
        for found in self._marks.finditer(buffer, start):
            at, mark = found.start(), found[0]
            if at < done:
                continue
            if mark == b"\n":
                if not self._inside:
                    ends.append(at + 1)
            elif not self._inside:
                self._inside = mark == layout.quote
            elif mark == layout.escape and layout.escape != layout.quote:
                if at + 1 == len(buffer):
                    return ends, at  # what it escapes is still to come
                done = at + 2 if buffer[at + 1 : at + 2] in (layout.quote, layout.escape) else at + 1
            else:  # where the escape is the quote itself, a doubled one leaves and enters again
                self._inside = False
        return ends, len(buffer)

    @staticmethod
    def _lines(buffer: bytearray, start: int) -> list[int]:
        ends = []
        at = buffer.find(b"\n", start)
        while at >= 0:
            ends.append(at + 1)
            at = buffer.find(b"\n", at + 1)
        return ends
