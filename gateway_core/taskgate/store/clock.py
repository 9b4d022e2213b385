"""Times in the store: UTC columns that mean the same on SQLite and PostgreSQL, and the database's own clock.

Whether something has expired is decided by the database's clock, inside the statement that acts on it, so that gateways
whose clocks disagree still agree with each other. Resolution: microseconds on PostgreSQL, milliseconds on SQLite.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BindParameter, DateTime, Dialect, Float, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime. SQLite has no such type and gets text that sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class database_time(FunctionElement[datetime]):  # noqa: N801 (reads as the SQL function it is)
    """The database's clock at this statement, moved by `seconds` (negative: into the past), or by a parameter that has
    them."""

    type = UtcTime()
    inherit_cache = True
    name = "database_time"

    def __init__(self, seconds: float | BindParameter[float] = 0.0) -> None:
        if not isinstance(seconds, BindParameter):
            seconds = bindparam(None, round(seconds, 3), type_=Float())
        super().__init__(seconds)


@compiles(database_time, "sqlite")
def _sqlite(element: database_time, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {seconds} || ' seconds')"


@compiles(database_time, "postgresql")
def _postgresql(element: database_time, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"(clock_timestamp() + make_interval(secs => CAST({seconds} AS double precision)))"
