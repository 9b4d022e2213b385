"""Short-lived credentials: what a task gets instead of the target's own password.

The user name is `tg_…`, the password 256 random bits; as a bearer token they are `tg_….<secret>`. Only verifiers are
stored. A credential is for one (principal, target) and ends at its expiry, its revocation, or the attempt's end,
whichever comes first. Times are the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Update, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.domain import Assurance, Credential, Principal
from taskgate.errors import ClientFault
from taskgate.identity.orchestrators.faults import NotProven
from taskgate.identity.registered_runs import run_ended, why_run_ended
from taskgate.identity.secret_tokens import matches, new_secret, scram_verifier, secret_hash, split_token
from taskgate.store.attempts import now_over, why_over
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix, is_id, new_id
from taskgate.store.pages import Page, page
from taskgate.store.principals import principal_from_json, principal_to_json
from taskgate.store.signals import SignalKind, Signals
from taskgate.store.tables import credentials


@dataclass(frozen=True, slots=True)
class CredentialFilter:
    """What `search` returns; every given field must match. `principal` is `str(principal)`."""

    target: str | None = None
    principal: str | None = None
    owner_key: str | None = None
    attempt_id: str | None = None
    live: bool = False


def credential_is_live() -> ColumnElement[bool]:
    confined = credentials.c.confined_until
    return (
        credentials.c.revoked_at.is_(None)
        & (credentials.c.expires_at > database_time())
        & (confined.is_(None) | (confined > database_time()))
    )


# Built once: a connection's set-up waits for it.
_ANY = select(credentials).where(credentials.c.id == bindparam("credential_id"))
_LIVE = _ANY.where(credential_is_live())


class Credentials:
    """`min_ttl` and `max_ttl` in seconds bound what may be asked for."""

    def __init__(
        self, database: Database, signals: Signals, *, min_ttl: float = 10.0, max_ttl: float = 24 * 3600.0
    ) -> None:
        self._database = database
        self._find = database.prepared(_LIVE)
        self._signals = signals
        self._min_ttl = min_ttl
        self._max_ttl = max_ttl

    async def issue(
        self,
        principal: Principal,
        target: str,
        ttl: float,
        issued_by: str,
        *,
        confined_until: datetime | None = None,
        registration: str | None = None,
    ) -> tuple[Credential, str]:
        """The credential and its secret, which nobody can ask for again. `confined_until`: for the callbacks of an
        attempt that is over. `registration`: the registered run that proves the attempt. Raises ClientFault where `ttl`
        is out of bounds, NotProven where the attempt, or what proves it, has ended since it was looked at."""
        if not self._min_ttl <= ttl <= self._max_ttl:
            raise ClientFault(
                f"A credential can live for {self._min_ttl:g} to {self._max_ttl:g} seconds, not {ttl:g}.",
                hint="Ask for less, and issue another when it ends.",
            )
        secret = new_secret()
        row = insert(credentials).values(
            id=new_id(IdPrefix.CREDENTIAL),
            principal=principal_to_json(principal),
            principal_key=str(principal),
            owner_key=principal.owner_key,
            attempt_id=principal.attempt.id if principal.attempt else None,
            target=target,
            issued_at=database_time(),
            expires_at=database_time(ttl),
            issued_by=issued_by,
            scram=scram_verifier(secret),
            bearer_hash=secret_hash(secret),
            confined_until=confined_until,
        )
        row = row.returning(*credentials.c)
        if principal.attempt is None or confined_until is not None:
            async with self._database.statement(writes=True) as connection:
                stored = (await connection.execute(row)).one()
            return _credential(stored), secret
        async with self._database.transaction() as connection:
            # Who ends the attempt waits for this, and then confines it too; or has been here before.
            ended = (await connection.execute(why_over(principal.attempt.id))).scalar_one_or_none()
            if ended is not None:
                raise NotProven("instance_not_running", f"the attempt is over: {ended}")
            if registration is not None:
                ended = (await connection.execute(why_run_ended(registration))).scalar_one_or_none()
                if ended is not None:
                    raise NotProven("run_ended", f"the flow run's token proves nothing any more: {ended}")
            stored = (await connection.execute(row)).one()
        return _credential(stored), secret

    async def find(self, credential_id: str) -> Credential | None:
        """The live credential with this id: None when unknown, expired or revoked. One round trip."""
        row = await self._live(credential_id)
        return _credential(row) if row else None

    async def get(self, credential_id: str) -> Credential | None:
        """Whatever its state."""
        if not is_id(IdPrefix.CREDENTIAL, credential_id):
            return None
        async with self._database.statement() as connection:
            row = (await connection.execute(_ANY, {"credential_id": credential_id})).one_or_none()
        return _credential(row) if row else None

    async def verify_bearer(self, token: str) -> Credential | None:
        """The live credential that `tg_….<secret>` proves; None otherwise, without saying why."""
        parts = split_token(token)
        row = await self._live(parts[0]) if parts else None
        if parts is None or row is None or not matches(parts[1], row.bearer_hash):
            return None
        return _credential(row)

    async def revoke(self, credential_id: str, by: str, reason: str) -> bool:
        """Ends it and, through a signal, its live sessions in every process. False: nothing to revoke."""
        return await self._revoke(credentials.c.id == credential_id, by, reason) == 1

    async def revoke_attempt(self, attempt_id: str, by: str, reason: str) -> int:
        """Everything issued to an attempt: what its end calls for. Returns how many were live."""
        return await self._revoke(credentials.c.attempt_id == attempt_id, by, reason)

    async def end_run(self, registration: str, issued_by: str, by: str, reason: str) -> int:
        """A registered run proves nothing any more, and everything issued on its word ends: together, so that nothing
        is issued in between. Returns how many were live."""
        issued = credential_is_live() & (credentials.c.issued_by == issued_by)
        return await self._revoke(issued, by, reason, first=run_ended(registration, reason))

    async def end_attempt(self, attempt_id: str, because: str, seconds: float) -> tuple[bool, int]:
        """The attempt is over: what it was issued may only read, and for no longer than `seconds` from now, in live
        sessions too, and from now on it is issued nothing. Called again, it changes nothing: an end is not put off by
        being found again. Returns whether this was the first to say so, and how many credentials there were."""
        async with self._database.transaction() as connection:
            first = (await connection.execute(now_over(attempt_id, because))).rowcount == 1
            where = credentials.c.confined_until.is_(None)
            confined = await self._confine(connection, attempt_id, where, database_time(seconds))
        if confined:
            self._signals.wake()
        return first, confined

    async def lengthen_confinement(self, attempt_id: str, until: datetime) -> int:
        """What is confined and may still read may do so until then, where that is longer. What is dead stays dead."""
        async with self._database.transaction() as connection:
            confined = await self._confine(connection, attempt_id, credentials.c.confined_until < until, until)
        if confined:
            self._signals.wake()
        return confined

    async def _confine(
        self, connection: AsyncConnection, attempt_id: str, where: ColumnElement[bool], until: Any
    ) -> int:
        change = (
            update(credentials)
            .where(credentials.c.attempt_id == attempt_id, credential_is_live(), where)
            .values(confined_until=until)
            .returning(credentials.c.id, credentials.c.confined_until)
        )
        confined = (await connection.execute(change)).all()
        for row in confined:
            payload = {"until": row.confined_until.isoformat()}
            await self._signals.append(connection, SignalKind.CREDENTIAL_CONFINED, row.id, payload)
        return len(confined)

    async def settled(self) -> None:
        """Returns once sessions of this process have heard what was revoked or confined before the call (those of other
        processes do within 250 ms)."""
        await self._signals.caught_up()

    async def held(self, attempt_id: str, target: str) -> Credential | None:
        """What a verified attempt was issued for the target and nobody has revoked, expired or not: the newest."""
        query = select(credentials).where(
            credentials.c.attempt_id == attempt_id,
            credentials.c.target == target,
            credentials.c.revoked_at.is_(None),
        )
        async with self._database.statement() as connection:
            rows = (await connection.execute(query.order_by(credentials.c.issued_at.desc()))).all()
        found = (_credential(row) for row in rows)
        return next((one for one in found if one.principal.assurance is Assurance.VERIFIED), None)

    async def confined(self, attempt_id: str, target: str) -> Credential | None:
        """What an attempt that is over may still read the target with."""
        query = select(credentials).where(
            credentials.c.attempt_id == attempt_id,
            credentials.c.target == target,
            credentials.c.confined_until.is_not(None),
            credential_is_live(),
        )
        async with self._database.statement() as connection:
            row = (await connection.execute(query.order_by(credentials.c.confined_until.desc()).limit(1))).one_or_none()
        return _credential(row) if row else None

    async def search(
        self, filters: CredentialFilter = CredentialFilter(), cursor: str | None = None, limit: int = 50
    ) -> Page[Credential]:
        """Newest first."""
        query = select(credentials)
        for column, wanted in (
            (credentials.c.target, filters.target),
            (credentials.c.principal_key, filters.principal),
            (credentials.c.owner_key, filters.owner_key),
            (credentials.c.attempt_id, filters.attempt_id),
        ):
            if wanted is not None:
                query = query.where(column == wanted)
        if filters.live:
            query = query.where(credential_is_live())
        async with self._database.statement() as connection:
            return await page(connection, query, credentials.c.id, IdPrefix.CREDENTIAL, _credential, cursor, limit)

    async def _live(self, credential_id: str) -> Any:
        if not is_id(IdPrefix.CREDENTIAL, credential_id):
            return None
        return await self._find.one_or_none(credential_id=credential_id)

    async def _revoke(self, which: ColumnElement[bool], by: str, reason: str, *, first: Update | None = None) -> int:
        change = (
            update(credentials)
            .where(which, credentials.c.revoked_at.is_(None))
            .values(revoked_at=database_time(), revoked_by=by, revoked_reason=reason)
            .returning(credentials.c.id)
        )
        async with self._database.transaction() as connection:
            if first is not None:
                await connection.execute(first)
            revoked = (await connection.execute(change)).scalars().all()
            for credential_id in revoked:
                await self._signals.append(
                    connection, SignalKind.CREDENTIAL_REVOKED, credential_id, {"by": by, "reason": reason}
                )
        if revoked:
            self._signals.wake()
        return len(revoked)


def _credential(row: Any) -> Credential:
    return Credential(
        id=row.id,
        principal=principal_from_json(row.principal),
        target=row.target,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        issued_by=row.issued_by,
        scram=row.scram,
        revoked_at=row.revoked_at,
        confined_until=row.confined_until,
    )
