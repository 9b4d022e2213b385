"""Statements compiled once, for what every connection waits for. SQLAlchemy writes them and knows their types; on
SQLite they then run past it (`direct_sqlite.py`), on PostgreSQL through it.

    find = database.prepared(select(credentials).where(credentials.c.id == bindparam("credential_id")))
    row = await find.one_or_none(credential_id=...)      # None, or an object with the columns as attributes

Everything else goes through `Database.statement` and `Database.transaction`.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Select
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.dml import ReturningInsert

PreparedStatement = Select[Any] | ReturningInsert[Any]


class Prepared(Protocol):
    async def one_or_none(self, **values: object) -> Any:
        """The only row, or None. Raises StoreFault."""


class SqliteText:
    """A statement as SQLite's own driver takes it. `bind` and `row` convert what goes in and comes out, as SQLAlchemy
    would."""

    def __init__(self, statement: PreparedStatement) -> None:
        dialect = sqlite.dialect(paramstyle="named")
        compiled = statement.compile(dialect=dialect)
        columns = list(statement.exported_columns)
        self.text = str(compiled)
        self._values: dict[str, Any] = dict(compiled.params)
        self._before: dict[str, Callable[[Any], Any]] = {}
        for name in self._values:
            convert = compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)
            if convert is not None:
                self._before[name] = convert
        processors = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._after = [convert or _unchanged for convert in processors]
        self._row: Any = namedtuple("Row", [column.name for column in columns])  # type: ignore[misc]

    def bind(self, values: Mapping[str, object]) -> dict[str, object]:
        bound: dict[str, Any] = {**self._values, **values}
        for name, convert in self._before.items():
            bound[name] = convert(bound[name])
        return bound

    def row(self, found: Sequence[Any]) -> Any:
        return self._row(*[convert(value) for convert, value in zip(self._after, found, strict=True)])


def _unchanged(value: Any) -> Any:
    return value
