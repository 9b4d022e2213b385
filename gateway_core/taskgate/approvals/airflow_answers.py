"""Airflow's own page as a second place to decide: its answers are read, and decisions made here answer its rows.

The gateway stays the authority. What a person answered there counts only where the rule lets it, where the row reads to
the letter as the gateway's own page (`airflow_page.py`), and where configuration says who that Airflow user is; whether
that person may decide is judged as for every decision. Everything else is logged, and the request goes on waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from taskgate.approvals.airflow_page import APPROVE, DENY, AirflowPage, page_of
from taskgate.approvals.faults import ApprovalClosed
from taskgate.approvals.requests import ApprovalFilter, Approvals
from taskgate.domain import Approval, ApprovalState, TaskKey
from taskgate.errors import PolicyRefusal, TaskgateError
from taskgate.identity.api_keys import ApiKey, ApiKeys
from taskgate.identity.scopes import Scope
from taskgate.store.signals import Signal, SignalKind, Signals

log = structlog.get_logger(__name__)

LOOK_EVERY = 2.0
# A row may be written, and its task parked, a while after the gateway was asked: an answer is tried again.
_TRIES = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0, 80.0)
# A task that goes on before Airflow's scheduler has heard that its worker is through is failed (apache/airflow#72716).
_NOT_SOONER = 4.0
_RECENTLY = timedelta(hours=1)
_MOST_TOLD = 1000
_OVER = tuple(state for state in ApprovalState if state is not ApprovalState.PENDING)


class Row(Protocol):
    """What a row says (`identity/orchestrators/airflow/human_input.py`)."""

    @property
    def subject(self) -> str: ...
    @property
    def body(self) -> str: ...
    @property
    def options(self) -> tuple[str, ...]: ...
    @property
    def plain(self) -> bool: ...
    @property
    def answered(self) -> bool: ...
    @property
    def chosen(self) -> tuple[str, ...]: ...
    @property
    def answered_by(self) -> tuple[str, str] | None: ...


class Rows(Protocol):
    """The human-in-the-loop rows of one Airflow. Both raise TaskgateError where it is away."""

    async def of(self, task: TaskKey) -> Row | None: ...
    async def answer(self, task: TaskKey, option: str) -> bool: ...


class AirflowAnswers:
    """One Airflow's, in one process. `people`: the name of a user's key by the id of an Airflow user. (Names of users
    are not looked at: with some of Airflow's auth managers everybody chooses their own.)"""

    def __init__(
        self,
        source: str,
        rows: Rows,
        people: Mapping[str, str],
        *,
        approvals: Approvals,
        api_keys: ApiKeys,
        url: Callable[[str], str | None],
    ) -> None:
        self._source = source
        self._rows = rows
        self._people = people
        self._approvals = approvals
        self._api_keys = api_keys
        self._url = url
        self._told: set[tuple[str, str]] = set()
        self._answering: set[asyncio.Task[None]] = set()

    def page(self, approval: Approval) -> AirflowPage | None:
        """What the task's row has to say; None where Airflow's page does not decide this one."""
        return page_of(approval, self._url(approval.id)) if self._is_mine(approval) else None

    async def page_to_write(self, approval: Approval) -> AirflowPage | None:
        """The same for a task that is about to ask there. None also where its row says something else already: Airflow
        keeps a row over the task's tries and never changes its text. Raises OrchestratorAway."""
        page = self.page(approval)
        if page is None or approval.principal.task is None:
            return None
        row = await self._rows.of(approval.principal.task)
        return page if row is None or row.body == page.body else None

    async def look(self, approval: Approval) -> bool:
        """Whether somebody's answer there has decided it now. Raises TaskgateError where Airflow or the store is
        away."""
        page = self.page(approval)
        if page is None or approval.principal.task is None:
            return False
        row = await self._rows.of(approval.principal.task)
        if row is None or not row.answered:
            return False
        if (row.subject, row.body, row.options) != (page.subject, page.body, page.options) or not row.plain:
            return self._counts_not(approval, "the row does not read as the gateway's own page")
        if row.answered_by is None or len(row.chosen) != 1 or row.chosen[0] not in page.options:
            return self._counts_not(approval, "no user of Airflow chose one of the two")
        person = await self._person(row.answered_by[0])
        if person is None:
            return self._counts_not(approval, f"no configured person is Airflow's user {row.answered_by[0][:80]!r}")
        comment = f"on Airflow's page, as {row.answered_by[0][:80]}"
        try:
            approves = row.chosen[0] == APPROVE
            await self._approvals.decide(approval.id, person.id, approves, comment, known_as=row.answered_by)
        except ApprovalClosed:
            return True
        except PolicyRefusal as refusal:
            return self._counts_not(approval, refusal.message)
        return True

    async def run(self, signals: Signals) -> None:
        """Until cancelled. An Airflow or a store that is away is tried again."""
        unsubscribe = signals.subscribe(SignalKind.APPROVAL_DECIDED, self._heard)
        away = False
        try:
            await self._catch_up()
            while True:
                try:
                    await self._look_at_all()
                    away = False
                except TaskgateError as fault:
                    if not away:
                        log.warning("airflow_answers.away", source=self._source, reason=fault.message)
                    away = True
                await asyncio.sleep(LOOK_EVERY)
        finally:
            unsubscribe()
            for task in self._answering:
                task.cancel()

    async def _look_at_all(self) -> None:
        """One that cannot be looked at keeps no other from it. Raises TaskgateError for the last of those."""
        cursor, fault = None, None
        while True:
            waiting = ApprovalFilter(state=ApprovalState.PENDING, source=self._source)
            page = await self._approvals.search(waiting, cursor, 100)
            for approval in page.items:
                try:
                    await self.look(approval)
                except TaskgateError as error:
                    fault = error
            if (cursor := page.next_cursor) is None:
                break
        if fault is not None:
            raise fault

    async def _catch_up(self) -> None:
        """What was decided while no process of the gateway ran, or right before this one died."""
        try:
            page = await self._approvals.search(ApprovalFilter(states=_OVER, source=self._source), None, 100)
        except TaskgateError as fault:
            log.warning("airflow_answers.away", source=self._source, reason=fault.message)
            return
        for approval in page.items:
            if approval.decided_at and datetime.now(UTC) - approval.decided_at < _RECENTLY:
                self._answer_soon(approval.id)

    def _heard(self, signal: Signal) -> None:
        self._answer_soon(signal.subject)

    def _answer_soon(self, approval_id: str) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(approval_id))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, approval_id: str) -> None:
        """Wake the task that is parked on the row, whichever way it was decided: it runs again and is judged."""
        waited = False
        for pause in _TRIES:
            await asyncio.sleep(pause)
            try:
                approval = await self._approvals.get(approval_id)
                page = None if approval is None else self.page(approval)
                if approval is None or page is None or approval.principal.task is None:
                    return
                if not waited:
                    waited = True
                    asked_for = datetime.now(UTC) - approval.requested_at
                    await asyncio.sleep(max(0.0, min(_NOT_SOONER - asked_for.total_seconds(), _NOT_SOONER)))
                row = await self._rows.of(approval.principal.task)
                if row is None or row.body != page.body:  # not there yet, or another question's
                    continue
                option = APPROVE if approval.state is ApprovalState.APPROVED else DENY
                if row.answered or await self._rows.answer(approval.principal.task, option):
                    return
            except TaskgateError as fault:
                log.warning("airflow_answers.not_answered", approval=approval_id, reason=fault.message)

    async def _person(self, user_id: str) -> ApiKey | None:
        name = self._people.get(user_id)
        if name is None:
            return None
        keys = await self._api_keys.of_person(name)
        return next((key for key in keys if Scope.APPROVALS_DECIDE in key.scopes), None)

    def _counts_not(self, approval: Approval, why: str) -> bool:
        if (approval.id, why) not in self._told:
            if len(self._told) >= _MOST_TOLD:
                self._told.clear()
            self._told.add((approval.id, why))
            log.warning("approval.airflow_answer_does_not_count", approval=approval.id, source=self._source, reason=why)
        return False

    def _is_mine(self, approval: Approval) -> bool:
        return approval.principal.task is not None and approval.principal.task.source == self._source
