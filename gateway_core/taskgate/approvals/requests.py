"""Approvals: asked for, decided, used, ended. The one place where an approval changes its state.

    pending  → approved   a person entitled to it says yes        (decide)
             → denied     a person entitled to it says no         (decide)
             → expired    nobody did in time                      (expire_due)
             → withdrawn  nobody waits for it any more            (withdraw, withdraw_all)
    approved → withdrawn  the approver is no longer entitled      (use_grant)

Every change is one transaction that names the state it starts from, so of several at once exactly one wins, and it
sends the signal by which waiters in every process hear of it. That a request was approved is news; permission to act
is only what `use_grant` returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import ColumnElement, case, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from taskgate.approvals.deciders import Deciders
from taskgate.approvals.draft import ApprovalDraft, draft_to_row
from taskgate.approvals.entitlement import Entitlement
from taskgate.approvals.faults import ApprovalClosed, ApprovalUnknown, TooManyPending
from taskgate.approvals.feed import DecisionFeed
from taskgate.approvals.grants import Grants
from taskgate.approvals.notifiers.outbox import Outbox
from taskgate.approvals.parties import People, parties_of
from taskgate.approvals.rows import approval_from_row, terms_from_json
from taskgate.approvals.sealing import ParameterSeal
from taskgate.approvals.searching import ApprovalFilter, Searching
from taskgate.approvals.viewing import Viewing
from taskgate.approvals.waiters import DecisionWaiters
from taskgate.domain import Approval, ApprovalState
from taskgate.errors import ClientFault, PolicyRefusal, StoreFault
from taskgate.identity.api_keys import ApiKeys
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix, new_id
from taskgate.store.sessions import PROCESS_DIED
from taskgate.store.signals import SignalKind, Signals
from taskgate.store.tables import approval_votes, approvals, sessions

__all__ = ["ApprovalClosed", "ApprovalDraft", "ApprovalFilter", "ApprovalUnknown", "Approvals"]

log = structlog.get_logger(__name__)

MOST_PENDING = 500
"""Requests of one owner that wait at the same time: nobody decides more, and others' would not be found among them."""


class Approvals:
    """One a process. `outbox` None: nobody is notified. `people`: who the users of orchestrators are here."""

    def __init__(
        self,
        database: Database,
        signals: Signals,
        api_keys: ApiKeys,
        seal: ParameterSeal,
        outbox: Outbox | None = None,
        people: People | None = None,
    ) -> None:
        self._people = people or {}
        self._database = database
        self._signals = signals
        self._seal = seal
        self._outbox = outbox
        self._entitlement = Entitlement(api_keys)
        self._grants = Grants(database, signals, self._entitlement)
        self._viewing = Viewing(database, self._entitlement, seal)
        searching = Searching(database)
        self.get = searching.get
        self.states = searching.states
        self.used_in = searching.used_in
        self.search = searching.search
        self._waiters = DecisionWaiters(signals, self.get)
        self.feed = DecisionFeed(signals)
        self.use_grant = self._grants.use
        self.obstacles = self._viewing.obstacles
        self.parameters = self._viewing.parameters
        self.views = self._viewing.views
        self.nobody_may = Deciders(database, api_keys, self._entitlement).nobody_may

    async def request(self, draft: ApprovalDraft) -> Approval:
        """The open approval for this digest and owner: made, or found (also one approved meanwhile whose grant is not
        used up). Asking again adds the new asker to those who may not decide."""
        for _ in range(5):
            try:
                return await self._request(draft)
            except IntegrityError:  # another process asked the same at the same moment
                continue
        raise StoreFault("The approval could not be requested: others kept asking for the same.")

    async def _request(self, draft: ApprovalDraft) -> Approval:
        async with self._database.transaction() as connection:
            parties = await parties_of(connection, draft.principal, draft.session_id, self._people)
            row = await self._open(connection, draft)
            if row is None:
                await self._room_for_another(connection, draft.principal.owner_key)
                approval_id = new_id(IdPrefix.APPROVAL)
                sealed = self._seal.seal(approval_id, draft.digest, draft.parameters)
                values = draft_to_row(draft, approval_id, parties, sealed)
                row = (await connection.execute(insert(approvals).values(values).returning(*approvals.c))).one()
                approval = approval_from_row(row)
                if self._outbox:
                    await self._outbox.enqueue(connection, "approval.requested", approval)
                await self._signals.append(connection, SignalKind.APPROVAL_REQUESTED, approval.id)
            else:
                change = update(approvals).where(approvals.c.id == row.id)
                change = change.values(
                    parties=sorted({*row.parties, *parties}),
                    session_id=draft.session_id,
                    holders=row.holders + draft.held,
                    held_until=_longest(draft.hold) if draft.held else row.held_until,
                    detached=row.detached or not draft.held,
                )
                row = (await connection.execute(change.returning(*approvals.c))).one()
                approval = approval_from_row(row)
        self._wake()
        return approval

    async def _room_for_another(self, connection: AsyncConnection, owner_key: str) -> None:
        """Raises TooManyPending."""
        pending = select(approvals.c.id).where(approvals.c.owner_key == owner_key, _pending())
        if len((await connection.execute(pending.limit(MOST_PENDING))).all()) == MOST_PENDING:
            raise TooManyPending(f"{MOST_PENDING} requests of the same owner wait for a human already")

    async def _open(self, connection: AsyncConnection, draft: ApprovalDraft) -> Any:
        mine = (approvals.c.digest == draft.digest) & (approvals.c.owner_key == draft.principal.owner_key)
        unused = (approvals.c.state == ApprovalState.APPROVED.value) & (approvals.c.uses_left > 0)
        query = select(approvals).where(mine, _pending() | unused, approvals.c.expires_at > database_time())
        query = query.order_by(approvals.c.id.desc()).limit(1).with_for_update()
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            # One that is past its time but not swept yet would stand in the new one's way.
            overdue = mine & _pending() & (approvals.c.expires_at <= database_time())
            await self._end(connection, overdue, ApprovalState.EXPIRED)
        return row

    async def latest(self, digest: str, owner_key: str) -> Approval | None:
        """The last request for exactly this by this owner, whatever became of it."""
        mine = (approvals.c.digest == digest) & (approvals.c.owner_key == owner_key)
        query = select(approvals).where(mine).order_by(approvals.c.id.desc()).limit(1)
        async with self._database.statement() as connection:
            row = (await connection.execute(query)).one_or_none()
        return approval_from_row(row) if row else None

    async def decide(
        self,
        approval_id: str,
        approver: str,
        approve: bool,
        comment: str | None = None,
        *,
        known_as: Collection[str] = (),
    ) -> Approval:
        """`approver` is the id of a person's API key, read again here; `known_as`: other names of theirs, where they
        decided somewhere else. Raises ApprovalUnknown, ApprovalClosed (with how
        it ended) or PolicyRefusal where this approver may not decide."""
        if comment is not None and "\x00" in comment:
            raise ClientFault("A comment is text.")
        async with self._database.transaction() as connection:
            row = await self._row(connection, approval_id, lock=True)
            terms = terms_from_json(row.terms)
            person = await self._entitlement.approver(connection, approver)
            obstacle = await self._entitlement.obstacle(connection, person, terms, row.parties, known_as)
            if obstacle or person is None:
                raise PolicyRefusal(f"You may not decide this approval: {obstacle}.", approval_id=approval_id)
            state = ApprovalState.APPROVED if approve else ApprovalState.DENIED
            change = (
                update(approvals)
                .where(approvals.c.id == approval_id, _pending(), approvals.c.expires_at > database_time())
                .values(
                    state=state.value,
                    decided_at=database_time(),
                    decided_by=str(person.principal()),
                    decided_by_id=person.id,
                    comment=comment,
                    uses_left=terms.uses if approve else 0,
                )
            )
            decided = (await connection.execute(change.returning(*approvals.c))).one_or_none()
            if decided is None:
                raise ApprovalClosed(approval_from_row(row))
            await connection.execute(
                insert(approval_votes).values(
                    approval_id=approval_id,
                    approver_id=person.id,
                    approver=person.name,
                    approve=approve,
                    comment=comment,
                    voted_at=database_time(),
                )
            )
            approval = approval_from_row(decided)
            await self._announce(connection, approval)
        self._wake()
        log.info("approval.decided", approval=approval_id, state=approval.state, by=approval.decided_by)
        return approval

    def decided(self, approval_id: str) -> asyncio.Future[Approval]:
        """Resolves once the approval is no longer pending, whichever process ended it. Cancel it freely."""
        return self._waiters.wait(approval_id)

    async def withdraw(self, approval_id: str, reason: str) -> Approval:
        """One connection waits no longer. Withdrawn when it was the last and nobody means to come back; otherwise, or
        where a decision came first, the approval stands as returned."""
        async with self._database.transaction() as connection:
            row = await self._row(connection, approval_id, lock=True)
            if row.state != ApprovalState.PENDING.value:
                return approval_from_row(row)
            holders = max(0, row.holders - 1)
            await connection.execute(update(approvals).where(approvals.c.id == approval_id).values(holders=holders))
            if not holders and not row.detached:
                await self._end(connection, approvals.c.id == approval_id, ApprovalState.WITHDRAWN, reason)
            approval = approval_from_row(await self._row(connection, approval_id))
        self._wake()
        return approval

    async def leave_open(self, approval_id: str) -> Approval:
        """One connection waits no longer, and whoever asked comes back: from now on no connection's end withdraws the
        request. Where a decision came first, the approval stands as returned."""
        async with self._database.transaction() as connection:
            row = await self._row(connection, approval_id, lock=True)
            if row.state == ApprovalState.PENDING.value:
                change = update(approvals).where(approvals.c.id == approval_id)
                change = change.values(holders=max(0, row.holders - 1), detached=True).returning(*approvals.c)
                row = (await connection.execute(change)).one()
        return approval_from_row(row)

    async def withdraw_all(self, owner_key: str, reason: str) -> int:
        """Every pending request of this owner, whoever waits for it or means to come back; waiters hear of it and are
        told the reason. Returns how many there were."""
        mine = approvals.c.owner_key == owner_key
        async with self._database.transaction() as connection:
            withdrawn = await self._end(connection, mine, ApprovalState.WITHDRAWN, reason)
        if withdrawn:
            self._wake()
            log.info("approvals.withdrawn", owner=owner_key, approvals=withdrawn, reason=reason)
        return len(withdrawn)

    async def expire_due(self) -> int:
        """End what nobody decided in time: no answer is a no. Returns how many."""
        async with self._database.statement() as connection:
            due = (approvals.c.expires_at <= database_time()) & _pending()
            if (await connection.execute(select(approvals.c.id).where(due).limit(1))).first() is None:
                return 0
        async with self._database.transaction() as connection:
            expired = await self._end(connection, due, ApprovalState.EXPIRED)
        self._wake()
        return len(expired)

    async def release_abandoned(self) -> int:
        """No connection waits any more where the process that had it died; the request itself stays for the retry."""
        died = exists().where(sessions.c.id == approvals.c.session_id, sessions.c.closed_reason == PROCESS_DIED)
        abandoned = _pending() & (approvals.c.holders > 0) & died
        async with self._database.statement() as connection:
            if (await connection.execute(select(approvals.c.id).where(abandoned).limit(1))).first() is None:
                return 0
        async with self._database.statement(writes=True) as connection:
            return (await connection.execute(update(approvals).where(abandoned).values(holders=0))).rowcount

    async def run(self, interval: float = 1.0) -> None:
        """`expire_due` and `release_abandoned` every `interval` seconds, until cancelled. An unreachable store is
        logged and tried again."""
        while True:
            try:
                await self.expire_due()
                await self.release_abandoned()
            except StoreFault as fault:
                log.warning("approvals.not_swept", reason=fault.detail)
            await asyncio.sleep(interval)

    async def _row(self, connection: AsyncConnection, approval_id: str, *, lock: bool = False) -> Any:
        query = select(approvals).where(approvals.c.id == approval_id)
        row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
        if row is None:
            raise ApprovalUnknown("There is no such approval.")
        return row

    async def _end(
        self, connection: AsyncConnection, which: ColumnElement[bool], state: ApprovalState, reason: str | None = None
    ) -> list[str]:
        """From pending to `state`, without a human."""
        change = (
            update(approvals)
            .where(which, _pending())
            .values(state=state.value, decided_at=database_time(), comment=reason, holders=0)
            .returning(*approvals.c)
        )
        rows = (await connection.execute(change)).all()
        for row in rows:
            await self._announce(connection, approval_from_row(row))
        return [row.id for row in rows]

    async def _announce(self, connection: AsyncConnection, approval: Approval) -> None:
        """Last in its transaction: the signal's number is a queue."""
        if self._outbox:
            await self._outbox.enqueue(connection, "approval.decided", approval)
        payload = {"state": approval.state.value}
        await self._signals.append(connection, SignalKind.APPROVAL_DECIDED, approval.id, payload)

    def _wake(self) -> None:
        self._signals.wake()
        if self._outbox:
            self._outbox.wake()


def _longest(hold: float) -> ColumnElement[datetime]:
    until, known = database_time(hold), approvals.c.held_until
    return case((or_(approvals.c.holders == 0, known.is_(None), known < until), until), else_=known)


def _pending() -> ColumnElement[bool]:
    return approvals.c.state == ApprovalState.PENDING.value
