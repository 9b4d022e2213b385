"""What a session has done so far, as the index of sessions keeps it: numbers, and what it attempted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import bindparam, exists, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.domain import Pair
from taskgate.store.tables import session_effects, sessions

_LONGEST_OBJECT = 500


@dataclass(frozen=True, slots=True)
class SessionCounts:
    """Totals since the session opened. `rows` sent to the client, `masked` cells."""

    actions: int = 0
    refused: int = 0
    rows: int = 0
    masked: int = 0


def storable(text: str) -> str:
    """Clients write what they like, errors repeat it: a database takes neither NUL nor half a surrogate pair."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()


def indexable(name: str) -> str:
    """Names that do not resolve are kept as the client wrote them: an index does not take any length."""
    return storable(name)[:_LONGEST_OBJECT]


# Only for sessions that are there: whatever became of one, it does not keep others out of the index.
_row = (
    select(*(bindparam(column.name, type_=column.type).label(column.name) for column in session_effects.c))
    .where(exists().where(sessions.c.id == bindparam("session_id")))
)  # fmt: skip
_names = [column.name for column in session_effects.c]
_ADD_SQLITE = sqlite.insert(session_effects).from_select(_names, _row).on_conflict_do_nothing()
_ADD_POSTGRESQL = postgresql.insert(session_effects).from_select(_names, _row).on_conflict_do_nothing()


async def add_pairs(connection: AsyncConnection, attempted: Iterable[tuple[str, Iterable[Pair]]]) -> None:
    """`attempted`: sessions' ids and what they attempted; repetition is harmless."""
    rows = [
        {"session_id": session_id, "effect": effect, "object": name}
        for session_id, pairs in attempted
        for effect, name in sorted({(pair.effect, indexable(pair.object)) for pair in pairs})
    ]
    if rows:
        await connection.execute(_ADD_POSTGRESQL if connection.dialect.name == "postgresql" else _ADD_SQLITE, rows)
