"""The index of sessions: who had which connection when, and what it did, in numbers and effects. The record itself
(every action, replayable) is the recording's; this is how it is found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Select,
    bindparam,
    exists,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningInsert

from taskgate.domain import Pair, Principal, PrincipalKind
from taskgate.errors import AuthenticationFault
from taskgate.store.clock import UtcTime, database_time
from taskgate.store.closings import Closings
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix
from taskgate.store.pages import Page, page
from taskgate.store.principals import principal_from_json, principal_to_json
from taskgate.store.processes import alive
from taskgate.store.tables import credentials, processes, session_effects, sessions
from taskgate.store.tallies import SessionCounts, add_pairs, indexable

PROCESS_DIED = "the gateway process died"

__all__ = ["PROCESS_DIED", "IndexedSession", "SessionCounts", "SessionFilter", "SessionIndex"]


@dataclass(frozen=True, slots=True)
class IndexedSession:
    """`closed_at` None: live, as far as the store knows."""

    id: str
    process_id: str
    credential_id: str | None
    principal: Principal
    target: str
    protocol: str
    client_address: str
    policy_version: str
    opened_at: datetime
    closed_at: datetime | None
    closed_reason: str | None
    counts: SessionCounts


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """What `search` returns; every given field must match. `name`: every word of it is part of the DAG's, run's or
    task's name; `person`: part of the name of the person who acts or who triggered the run; both whatever the case.
    `principal` is `str(principal)`; `effect` and `object` match sessions with such a pair among what they attempted;
    times bound `opened_at`, the later one exclusive."""

    name: str | None = None
    person: str | None = None

    source: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    attempt_id: str | None = None
    target: str | None = None
    principal: str | None = None
    credential_id: str | None = None
    effect: str | None = None
    object: str | None = None
    opened_from: datetime | None = None
    opened_before: datetime | None = None
    live: bool | None = None


def _open_statement() -> ReturningInsert[datetime]:
    """INSERT … SELECT … WHERE the credential is live: built once, since building it costs more than running it."""
    opening = [column for column in sessions.c if column.name not in ("opened_at", "closed_at", "closed_reason")]
    confined = credentials.c.confined_until
    known = bindparam("known_confined", type_=Boolean())
    live = (
        credentials.c.revoked_at.is_(None)
        & (credentials.c.expires_at > database_time())
        & (confined.is_(None) | (known & (confined > database_time())))
    )
    credential_id = bindparam("credential_id", type_=sessions.c.credential_id.type)
    row = select(
        *(bindparam(column.name, type_=column.type).label(column.name) for column in opening),
        database_time().label("opened_at"),
    ).where(or_(credential_id.is_(None), exists().where(credentials.c.id == credential_id, live)))
    names = [*(column.name for column in opening), "opened_at"]
    return insert(sessions).from_select(names, row).returning(sessions.c.opened_at)


_OPEN = _open_statement()


class SessionIndex:
    """`process_id` is this gateway process in the store (`GatewayProcess.id`)."""

    def __init__(self, database: Database, process_id: str) -> None:
        self._database = database
        self._process_id = process_id
        self._open = database.prepared(_OPEN, writes=True)
        self._closings = Closings(database)

    async def opened(
        self,
        session_id: str,
        principal: Principal,
        target: str,
        *,
        protocol: str,
        client_address: str,
        policy_version: str,
        credential_id: str | None = None,
        confined: bool = False,
    ) -> datetime:
        """Index a session, in one round trip; returns when it opened. Refused with AuthenticationFault where the
        credential is no longer live, or confined without that being known (`confined`): it may have been revoked since
        the client's proof began. For no gap between this
        check and the revocation's signal, the caller must already be listening for the session."""
        attempt = principal.attempt
        values = {
            "id": session_id,
            "process_id": self._process_id,
            "credential_id": credential_id,
            "principal": principal_to_json(principal),
            "principal_key": str(principal),
            "task_source": attempt.task.source if attempt else None,
            "dag_id": attempt.task.dag_id if attempt else None,
            "run_id": attempt.task.run_id if attempt else None,
            "run_name": (attempt.run_name or None) if attempt else None,
            "task_id": attempt.task.task_id if attempt else None,
            "map_index": attempt.task.map_index if attempt else None,
            "attempt_id": attempt.id if attempt else None,
            "target": target,
            "protocol": protocol,
            "client_address": client_address,
            "policy_version": policy_version,
            "actions": 0,
            "refused": 0,
            "rows": 0,
            "masked": 0,
            "known_confined": confined,
        }
        row = await self._open.one_or_none(**values)
        if row is None:
            raise AuthenticationFault("The credential is no longer valid.")
        opened_at: datetime = row.opened_at
        return opened_at

    async def progress(self, session_id: str, counts: SessionCounts, pairs: Iterable[Pair] = ()) -> None:
        """The totals so far, and pairs attempted since the last call (repetition is harmless)."""
        async with self._database.transaction() as connection:
            change = update(sessions).where(sessions.c.id == session_id, sessions.c.closed_at.is_(None))
            await connection.execute(
                change.values(actions=counts.actions, refused=counts.refused, rows=counts.rows, masked=counts.masked)
            )
            await add_pairs(connection, [(session_id, pairs)])

    def closed(self, session_id: str, reason: str, counts: SessionCounts, pairs: Iterable[Pair] = ()) -> None:
        """The session is over; its totals and pairs attempted. In the index a moment later, with others' ends, and as
        soon as the store answers again where it does not now. Idempotent: the first end stays."""
        self._closings.add(session_id, reason, counts, pairs)

    async def settle(self) -> None:
        """Every end told so far is in the index. Raises StoreFault."""
        await self._closings.write()

    async def stop(self) -> None:
        """`settle`, and no more tries. Raises StoreFault; the rest is for `close_abandoned`."""
        await self._closings.stop()

    async def close_abandoned(self) -> int:
        """Close the sessions of processes that died (see `processes`): at start, and now and then. Returns how many."""
        abandoned = not_(exists().where(processes.c.id == sessions.c.process_id, alive()))
        change = (
            update(sessions)
            .where(sessions.c.closed_at.is_(None), sessions.c.process_id != self._process_id, abandoned)
            .values(closed_at=database_time(), closed_reason=PROCESS_DIED)
        )
        async with self._database.statement(writes=True) as connection:
            return (await connection.execute(change)).rowcount

    async def get(self, session_id: str) -> IndexedSession | None:
        async with self._database.statement() as connection:
            row = (await connection.execute(select(sessions).where(sessions.c.id == session_id))).one_or_none()
        return _indexed(row) if row else None

    async def pairs(self, session_id: str) -> tuple[Pair, ...]:
        """What the session attempted, in order of effect and object."""
        query = select(session_effects).where(session_effects.c.session_id == session_id)
        async with self._database.statement() as connection:
            rows = (await connection.execute(query.order_by(session_effects.c.effect, session_effects.c.object))).all()
        return tuple(Pair(row.effect, row.object) for row in rows)

    async def pairs_of(self, session_ids: Sequence[str], each: int = 100) -> Mapping[str, tuple[Pair, ...]]:
        """The same of several sessions, `each` pairs at most."""
        order = session_effects.c.effect, session_effects.c.object
        place = func.row_number().over(partition_by=session_effects.c.session_id, order_by=order).label("place")
        found = select(session_effects, place).where(session_effects.c.session_id.in_(session_ids)).subquery()
        query = select(found).where(found.c.place <= each).order_by(found.c.effect, found.c.object)
        pairs: dict[str, list[Pair]] = {}
        async with self._database.statement() as connection:
            for row in (await connection.execute(query)).all():
                pairs.setdefault(row.session_id, []).append(Pair(row.effect, row.object))
        return {session_id: tuple(some) for session_id, some in pairs.items()}

    async def search(
        self, filters: SessionFilter = SessionFilter(), cursor: str | None = None, limit: int = 50
    ) -> Page[IndexedSession]:
        """Newest first. Raises InvalidCursor."""
        query = _filtered(select(sessions), filters)
        async with self._database.statement() as connection:
            return await page(connection, query, sessions.c.id, IdPrefix.SESSION, _indexed, cursor, limit)


def _filtered(query: Select[Any], filters: SessionFilter) -> Select[Any]:
    for column, wanted in (
        (sessions.c.task_source, filters.source),
        (sessions.c.dag_id, filters.dag_id),
        (sessions.c.run_id, filters.run_id),
        (sessions.c.task_id, filters.task_id),
        (sessions.c.map_index, filters.map_index),
        (sessions.c.attempt_id, filters.attempt_id),
        (sessions.c.target, filters.target),
        (sessions.c.principal_key, filters.principal),
        (sessions.c.credential_id, filters.credential_id),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    for word in (filters.name or "").split():
        columns = (sessions.c.dag_id, sessions.c.run_id, sessions.c.run_name, sessions.c.task_id)
        query = query.where(or_(*(column.icontains(word, autoescape=True) for column in columns)))
    if filters.person is not None:
        query = query.where(_is_behind(filters.person))
    if filters.effect is not None or filters.object is not None:
        pair = exists().where(session_effects.c.session_id == sessions.c.id)
        if filters.effect is not None:
            pair = pair.where(session_effects.c.effect == filters.effect)
        if filters.object is not None:
            pair = pair.where(session_effects.c.object == indexable(filters.object))
        query = query.where(pair)
    if filters.opened_from is not None:
        query = query.where(sessions.c.opened_at >= literal(filters.opened_from, UtcTime()))
    if filters.opened_before is not None:
        query = query.where(sessions.c.opened_at < literal(filters.opened_before, UtcTime()))
    if filters.live is not None:
        query = query.where(sessions.c.closed_at.is_(None) if filters.live else sessions.c.closed_at.is_not(None))
    return query


def _is_behind(part: str) -> ColumnElement[bool]:
    principal = sessions.c.principal
    acts = (principal["kind"].as_string() == PrincipalKind.USER.value) & principal["name"].as_string().icontains(
        part, autoescape=True
    )
    return or_(acts, principal["attributes", "triggering_user"].as_string().icontains(part, autoescape=True))


def _indexed(row: Any) -> IndexedSession:
    return IndexedSession(
        id=row.id,
        process_id=row.process_id,
        credential_id=row.credential_id,
        principal=principal_from_json(row.principal),
        target=row.target,
        protocol=row.protocol,
        client_address=row.client_address,
        policy_version=row.policy_version,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        closed_reason=row.closed_reason,
        counts=SessionCounts(row.actions, row.refused, row.rows, row.masked),
    )
