"""Pages of a listing, newest first, by opaque cursors that stay valid while rows come and go."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, Select
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.errors import ClientFault
from taskgate.store.ids import IdPrefix, is_id

T = TypeVar("T")
MAX_LIMIT = 500


class InvalidCursor(ClientFault):
    """Not a cursor of this listing."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """`next_cursor` is None on the last page."""

    items: tuple[T, ...]
    next_cursor: str | None = None


async def page(
    connection: AsyncConnection,
    query: Select[Any],
    column: Column[str],
    prefix: IdPrefix,
    build: Callable[[Any], T],
    cursor: str | None,
    limit: int,
) -> Page[T]:
    """The rows of `query` by descending `column` (an identifier), at most `limit` (1 to 500). Raises InvalidCursor."""
    limit = max(1, min(limit, MAX_LIMIT))
    if cursor is not None:
        query = query.where(column < _decode(prefix, cursor))
    rows: Sequence[Any] = (await connection.execute(query.order_by(column.desc()).limit(limit + 1))).all()
    following = _encode(getattr(rows[limit - 1], column.name)) if len(rows) > limit else None
    return Page(tuple(build(row) for row in rows[:limit]), following)


def _encode(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def _decode(prefix: IdPrefix, cursor: str) -> str:
    try:
        last = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        raise InvalidCursor("This is not a cursor.") from None
    if not is_id(prefix, last):
        raise InvalidCursor("This is not a cursor of this listing.")
    return last
