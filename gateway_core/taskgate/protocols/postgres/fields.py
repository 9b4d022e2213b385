"""A column as RowDescription describes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a RowDescription. `table_oid` and `attnum` are 0 where the column is no plain column of a relation;
    `format` is 0 (text) or 1 (binary), and 0 in the description of a statement, whose formats are not yet known."""

    name: bytes
    table_oid: int
    attnum: int
    type_oid: int
    typlen: int
    typmod: int
    format: int
