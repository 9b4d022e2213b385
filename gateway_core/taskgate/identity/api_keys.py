"""API keys: how people and services prove themselves to the control API.

A key is written `tgk_<id>.<secret>`, is shown once, and only the SHA-256 of its 256-bit secret is stored. A `user` key
is one person's own and speaks as that person; a `service` key may be shared by the parts of a service, so it can never
decide an approval, and what its holder says of others is only asserted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.domain import Assurance, Principal, PrincipalKind
from taskgate.errors import ClientFault
from taskgate.identity.scopes import PEOPLE_ONLY, Scope, permits
from taskgate.identity.secret_tokens import matches, new_secret, secret_hash, split_token
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix, is_id, new_id
from taskgate.store.pages import Page, page
from taskgate.store.signals import SignalKind, Signals
from taskgate.store.tables import api_keys

SOURCE = "taskgate"
"""The `source` of principals that the gateway itself vouches for."""

_LAST_USED_STEP = 60.0  # seconds: a busy key does not write at every request


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Without its secret. `aliases` are other names of the same person (`alice@example.com`), for four eyes."""

    id: str
    kind: PrincipalKind
    name: str
    scopes: frozenset[Scope]
    groups: tuple[str, ...]
    aliases: tuple[str, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    def permits(self, scope: Scope) -> bool:
        return permits(self.scopes, scope)

    def principal(self) -> Principal:
        """A person's own key proves the person. A service key proves only that somebody holds it: `asserted`."""
        person = self.kind is PrincipalKind.USER
        return Principal(
            kind=self.kind,
            name=self.name,
            source=SOURCE,
            assurance=Assurance.VERIFIED if person else Assurance.ASSERTED,
            verified_by="api_key",
            attributes={"groups": self.groups, "aliases": self.aliases},
        )


def api_key_is_live() -> ColumnElement[bool]:
    unexpired = or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > database_time())
    return api_keys.c.revoked_at.is_(None) & unexpired


class ApiKeys:
    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals

    async def create(
        self,
        kind: PrincipalKind,
        name: str,
        scopes: Iterable[Scope | str],
        groups: Iterable[str] = (),
        *,
        created_by: str,
        aliases: Iterable[str] = (),
        ttl: float | None = None,
    ) -> tuple[ApiKey, str]:
        """The key and the text its holder presents, which nobody can ask for again. `ttl` in seconds, None: no expiry.
        Raises ClientFault for a scope that does not exist or that a key of this kind cannot have."""
        held = _checked_scopes(kind, scopes)
        if not name.strip():
            raise ClientFault("An API key needs the name of the person or service it is for.")
        if ttl is not None and ttl <= 0:
            raise ClientFault("An API key cannot expire before it is made.")
        key_id, secret = new_id(IdPrefix.API_KEY), new_secret()
        row = insert(api_keys).values(
            id=key_id,
            kind=kind.value,
            name=name.strip(),
            secret_hash=secret_hash(secret),
            scopes=sorted(held),
            groups=sorted(set(groups)),
            aliases=sorted(set(aliases)),
            created_at=database_time(),
            created_by=created_by,
            expires_at=None if ttl is None else database_time(ttl),
        )
        async with self._database.statement(writes=True) as connection:
            stored = (await connection.execute(row.returning(*api_keys.c))).one()
        return _api_key(stored), f"{key_id}.{secret}"

    async def authenticate(self, presented: str) -> ApiKey | None:
        """The live key that `tgk_<id>.<secret>` proves; None otherwise, without saying why. Raises StoreFault."""
        parts = split_token(presented)
        if parts is None or not is_id(IdPrefix.API_KEY, parts[0]):
            return None
        async with self._database.statement() as connection:
            stale = api_keys.c.last_used_at.is_(None) | (api_keys.c.last_used_at < database_time(-_LAST_USED_STEP))
            query = select(*api_keys.c, stale.label("stale")).where(api_keys.c.id == parts[0], api_key_is_live())
            row = (await connection.execute(query)).one_or_none()
        if row is None or not matches(parts[1], row.secret_hash):
            return None
        if row.stale:
            await self._touch(row.id)
        return _api_key(row)

    async def current(self, connection: AsyncConnection, key_id: str) -> ApiKey | None:
        """The key as it is now, within the caller's transaction; None where it is not live. What entitlement rests on:
        never on a key read earlier."""
        row = (
            await connection.execute(select(api_keys).where(api_keys.c.id == key_id, api_key_is_live()))
        ).one_or_none()
        return _api_key(row) if row else None

    async def people(self, connection: AsyncConnection) -> list[ApiKey]:
        """All live keys of people, as they are now, within the caller's transaction."""
        query = select(api_keys).where(api_keys.c.kind == PrincipalKind.USER.value, api_key_is_live())
        return [_api_key(row) for row in await connection.execute(query)]

    async def of_person(self, name: str) -> list[ApiKey]:
        """The live keys of the person with exactly this name, newest first."""
        query = select(api_keys).where(
            api_keys.c.kind == PrincipalKind.USER.value, api_keys.c.name == name, api_key_is_live()
        )
        async with self._database.statement() as connection:
            rows = await connection.execute(query.order_by(api_keys.c.id.desc()))
            return [_api_key(row) for row in rows]

    async def get(self, key_id: str) -> ApiKey | None:
        """Whatever its state."""
        async with self._database.statement() as connection:
            row = (await connection.execute(select(api_keys).where(api_keys.c.id == key_id))).one_or_none()
        return _api_key(row) if row else None

    async def set_groups(self, key_id: str, groups: Iterable[str]) -> ApiKey | None:
        """Replace the groups; grants that rested on a group no longer held are void at their next use."""
        change = update(api_keys).where(api_keys.c.id == key_id).values(groups=sorted(set(groups)))
        async with self._database.statement(writes=True) as connection:
            row = (await connection.execute(change.returning(*api_keys.c))).one_or_none()
        return _api_key(row) if row else None

    async def revoke(self, key_id: str, by: str, reason: str) -> bool:
        """False where there was nothing to revoke. Other processes hear of it by a signal."""
        change = (
            update(api_keys)
            .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=database_time(), revoked_by=by, revoked_reason=reason)
        )
        async with self._database.transaction() as connection:
            if not (await connection.execute(change)).rowcount:
                return False
            await self._signals.append(connection, SignalKind.API_KEY_REVOKED, key_id, {"by": by, "reason": reason})
        self._signals.wake()
        return True

    async def list(self, *, live: bool = True, cursor: str | None = None, limit: int = 50) -> Page[ApiKey]:
        """Newest first."""
        query = select(api_keys).where(api_key_is_live()) if live else select(api_keys)
        async with self._database.statement() as connection:
            return await page(connection, query, api_keys.c.id, IdPrefix.API_KEY, _api_key, cursor, limit)

    async def _touch(self, key_id: str) -> None:
        change = update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=database_time())
        async with self._database.statement(writes=True) as connection:
            await connection.execute(change)


def _checked_scopes(kind: PrincipalKind, scopes: Iterable[Scope | str]) -> frozenset[Scope]:
    if kind not in (PrincipalKind.USER, PrincipalKind.SERVICE):
        raise ClientFault(f"API keys are for users and services, not for a {kind}.")
    try:
        held = frozenset(Scope(scope) for scope in scopes)
    except ValueError as error:
        raise ClientFault(f"{error}. Scopes are: {', '.join(Scope)}.") from None
    if kind is PrincipalKind.SERVICE and held & PEOPLE_ONLY:
        raise ClientFault("A service key cannot decide approvals: it would be nobody's decision.")
    return held


def _api_key(row: Any) -> ApiKey:
    return ApiKey(
        id=row.id,
        kind=PrincipalKind(row.kind),
        name=row.name,
        scopes=frozenset(Scope(scope) for scope in row.scopes),
        groups=tuple(row.groups),
        aliases=tuple(row.aliases),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
