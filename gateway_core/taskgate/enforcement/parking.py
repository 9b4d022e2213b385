"""Asking a human: use a grant, or make a request and wait for it as the rule and the client want.

The digest covers everything the approver was shown and everything that could change what it means; the grant is used
atomically, at the moment the action is about to run.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog

from taskgate.approvals.digest import ActionDigest
from taskgate.approvals.faults import TooManyPending
from taskgate.approvals.requests import ApprovalDraft, Approvals
from taskgate.domain import (
    Action,
    Approval,
    ApprovalState,
    ApprovalTerms,
    Principal,
    PrincipalKind,
    Target,
    TransactionState,
)
from taskgate.enforcement import content, refusals
from taskgate.enforcement.contracts import ParkedNotice, Permit, Waiting
from taskgate.enforcement.decisions import Judgement
from taskgate.errors import GatewayFault, JournalFault, TaskgateError
from taskgate.recording.records import Content, Decided, Event, Parked, RecordKind

log = structlog.get_logger(__name__)

Record = Callable[[RecordKind, Content], None]
Estimate = Callable[[Action], Awaitable[Mapping[str, object]]]


@dataclass(frozen=True, slots=True)
class Asking:
    """On whose behalf a human is asked. `waits` is false for clients that want a pending refusal at once;
    `is_current` says whether the policy and the catalogue that were judged by are still in force. `only_asks`: nothing
    is to run, so no grant is used."""

    session_id: str
    principal: Principal
    target: Target
    policy_version: str
    waits: bool
    record: Record
    is_current: Callable[[], bool]
    only_asks: bool = False

    @property
    def comes_back(self) -> bool:
        """A task: its retry asks in the same name, so a request outlives the connection that waited for it."""
        return self.principal.kind is PrincipalKind.TASK


class Parking:
    """Turns an `approve` verdict into a permit with a grant, or a refusal."""

    def __init__(
        self, approvals: Approvals, digest: ActionDigest, approval_url: Callable[[str], str | None], most_parked: int
    ) -> None:
        """`most_parked`: connections that may wait at one time for each target; the next is refused as pending."""
        self._approvals = approvals
        self._digest = digest
        self._url = approval_url
        self._most_parked = most_parked
        self._parked: Counter[str] = Counter()

    async def permit(
        self, asking: Asking, action: Action, judgement: Judgement, waiting: Waiting, estimate: Estimate
    ) -> Permit:
        """Raises PolicyRefusal where no grant is to be had; cancelling withdraws a request that was waited for, unless
        an earlier try left it open."""
        decision = judgement.decision
        terms = decision.terms
        if terms is None:
            raise GatewayFault("an approve verdict came without terms")
        if action.streams and not terms.streams:
            raise refusals.stream_needs_permission(decision.matches, asking.session_id)
        waits = asking.waits and self._parked[asking.target.name] < self._most_parked
        digest = self._digest.of(
            action, target=asking.target, policy_version=asking.policy_version, owner_key=asking.principal.owner_key,
            row_bound=terms.max_rows, owner_facts=asking.principal.owner_facts,
        )  # fmt: skip
        if not asking.only_asks and (grant := await self._grant(asking, digest)):
            return self._granted(asking, judgement.permit, grant)
        if answer := await self._answered(asking, digest):
            raise refusals.of_approval(answer, self._url(answer.id), asking.session_id, stands=True)
        if not asking.is_current():  # nobody is asked about what would be judged otherwise by now
            raise refusals.judged_anew(decision.matches, asking.session_id)
        hold = _hold(terms, action.transaction) if waits else 0.0
        draft = ApprovalDraft(
            digest=digest, principal=asking.principal, target=asking.target.name, session_id=asking.session_id,
            text=action.text, parameters=action.parameters or (), pairs=tuple(str(pair) for pair in action.pairs),
            rules=tuple(match.rule for match in decision.matches if match.verdict == "approve"),
            terms=terms, policy_version=asking.policy_version, environment=action.environment,
            estimate=await self._estimated(estimate, action), held=waits,
            hold=hold,
        )  # fmt: skip
        try:
            approval, nobody = await self._requested(draft)
        except TooManyPending as fault:
            raise refusals.too_many_pending(fault.message, decision.matches, asking.session_id) from None
        parked = Parked(
            content.parked(action, judgement.permit, decision.matches, approval.id),
            approval.id,
            terms.approvers,
            hold,
            self._url(approval.id) or "",
        )
        try:
            asking.record(RecordKind.PARKED, parked)
        except JournalFault:
            if waits:
                await self._withdrawn(approval, "the request could not be recorded")
            raise
        if not waits:
            raise refusals.of_approval(
                approval, self._url(approval.id), asking.session_id, nobody=nobody, stands=asking.only_asks
            )
        notice = ParkedNotice(approval.id, self._url(approval.id), approval.rules, hold, nobody)
        return await self._hold(asking, approval, judgement, waiting, digest, notice)

    async def _answered(self, asking: Asking, digest: str) -> Approval | None:
        """What a run was told already: it may start over by itself to come back for its answer, and then must not ask
        again until somebody gives in."""
        attempt = asking.principal.attempt
        if attempt is None or not attempt.of_run:
            return None
        latest = await self._approvals.latest(digest, asking.principal.owner_key)
        return latest if latest and latest.state in (ApprovalState.DENIED, ApprovalState.EXPIRED) else None

    async def _hold(
        self, asking: Asking, approval: Approval, judgement: Judgement, waiting: Waiting, digest: str,
        notice: ParkedNotice,
    ) -> Permit:  # fmt: skip
        hold, url = notice.hold, notice.url
        waiting.parked(notice)
        waited: float | None = None
        self._parked[asking.target.name] += 1
        try:
            decided = await asyncio.wait_for(self._approvals.decided(approval.id), hold)
        except TimeoutError:
            waited = hold
            decided = await self._hold_over(asking, approval, hold)
        except BaseException:
            await self._withdrawn(approval, "the client cancelled or went away")
            raise
        finally:
            self._parked[asking.target.name] -= 1
        if decided.state is not ApprovalState.PENDING:
            asking.record(RecordKind.DECIDED, Decided(decided.id, decided.state, decided.decided_by, decided.comment))
        if decided.state is ApprovalState.APPROVED:
            if not asking.is_current():
                raise refusals.overtaken(decided, url, asking.session_id)
            if grant := await self._grant(asking, digest):
                return self._granted(asking, judgement.permit, grant)
            decided, waited = await self._approvals.get(approval.id) or decided, None
        raise refusals.of_approval(decided, url, asking.session_id, waited=waited, nobody=notice.nobody_may)

    async def _hold_over(self, asking: Asking, approval: Approval, hold: float) -> Approval:
        """Nobody decided while the connection waited. What a task asked for stays open for its retry; for anybody else
        no answer is a no."""
        if asking.comes_back:
            return await self._even_if_cancelled(self._left_open(approval))
        return await self._withdrawn(approval, f"nobody decided within {hold:.0f} s")

    async def _left_open(self, approval: Approval) -> Approval:
        try:
            return await self._approvals.leave_open(approval.id)
        except TaskgateError as fault:  # it is open: only its connection still counts as waiting
            log.warning("approval.not_left_open", approval=approval.id, reason=fault.message)
            return approval

    async def _grant(self, asking: Asking, digest: str) -> Approval | None:
        return await self._approvals.use_grant(
            digest, asking.principal.owner_key, policy_version=asking.policy_version, session_id=asking.session_id
        )

    async def _requested(self, draft: ApprovalDraft) -> tuple[Approval, str | None]:
        """Ask; also says why nobody may decide, if so. A client that goes away meanwhile leaves no request behind that
        nobody waits for."""
        requesting = asyncio.ensure_future(self._ask(draft))
        try:
            return await asyncio.shield(requesting)
        except asyncio.CancelledError:
            if draft.held:
                _beside(self._withdraw_when_made(requesting))
            raise

    async def _ask(self, draft: ApprovalDraft) -> tuple[Approval, str | None]:
        approval = await self._approvals.request(draft)
        try:
            nobody = (await self._approvals.nobody_may([approval])).get(approval.id)
        except TaskgateError as fault:  # the request stands, whether or not this can be said
            log.warning("approval.deciders_unknown", approval=approval.id, reason=fault.message)
            return approval, None
        if nobody:
            log.warning("approval.nobody_may_decide", approval=approval.id, rules=approval.rules, reason=nobody)
        return approval, nobody

    async def _withdraw_when_made(self, requesting: asyncio.Future[tuple[Approval, str | None]]) -> None:
        try:
            approval, _ = await requesting
        except TaskgateError:
            return
        await self._withdrawn(approval, "the client cancelled or went away")

    async def _withdrawn(self, approval: Approval, reason: str) -> Approval:
        """Withdraw, unless a decision came first: then that is what counts. Done even if the caller is cancelled."""
        return await self._even_if_cancelled(self._withdraw(approval, reason))

    async def _even_if_cancelled(self, work: Coroutine[Any, Any, Approval]) -> Approval:
        return await asyncio.shield(_beside(work))

    async def _withdraw(self, approval: Approval, reason: str) -> Approval:
        try:
            return await self._approvals.withdraw(approval.id, reason)
        except TaskgateError as fault:
            log.warning("approval.not_withdrawn", approval=approval.id, reason=fault.message)
            return replace(approval, state=ApprovalState.WITHDRAWN)

    def _granted(self, asking: Asking, permit: Permit, grant: Approval) -> Permit:
        used = {"approval": grant.id, "by": grant.decided_by, "uses_left": grant.uses_left}
        asking.record(RecordKind.EVENT, Event("grant_used", used))
        if not asking.is_current():
            raise refusals.overtaken(grant, self._url(grant.id), asking.session_id)
        return replace(permit, approval_id=grant.id, durable=True, needs_judgement=False)

    async def _estimated(self, estimate: Estimate, action: Action) -> Mapping[str, object]:
        try:
            return await asyncio.wait_for(estimate(action), 5)
        except (TaskgateError, TimeoutError) as fault:
            return {"unavailable": str(fault) or "the planner took too long"}


def _hold(terms: ApprovalTerms, transaction: TransactionState) -> float:
    """Seconds that a connection waits: less where it may hold locks."""
    locks_held = transaction in (TransactionState.ACTIVE, TransactionState.FAILED)
    return min(terms.hold, terms.hold_in_transaction) if locks_held else terms.hold


_T = TypeVar("_T")
_going: set[asyncio.Task[Any]] = set()


def _beside(work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    """Runs to its end whether or not anybody waits for it."""
    task = asyncio.ensure_future(work)
    _going.add(task)
    task.add_done_callback(_going.discard)
    return task
