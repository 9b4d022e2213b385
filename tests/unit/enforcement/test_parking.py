"""Parking against a stand-in for Approvals that keeps one request in memory: what the real one does in its store is
tested with the store; here it is about who withdraws what, and when a grant is used."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from taskgate.approvals.digest import ActionDigest
from taskgate.approvals.requests import ApprovalDraft, Approvals
from taskgate.domain import Action, Approval, ApprovalState, ApprovalTerms, Principal, TransactionState, Verdict
from taskgate.enforcement.contracts import ParkedNotice, Permit
from taskgate.enforcement.decisions import Judgement
from taskgate.enforcement.parking import Asking, Parking
from taskgate.errors import JournalFault, PolicyRefusal, RuleMatch, StoreFault
from taskgate.policy.decision import Decision
from taskgate.recording.records import Content, RecordKind
from tests.unit.policy.builders import ORDERS, does, task, user

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DELETE = does("sql.delete public.orders")


@dataclass
class OneApproval:
    """The stand-in. `slow`: `request` takes until it is set."""

    approval: Approval | None = None
    used: list[tuple[str, str, str | None, str]] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    left_open: list[str] = field(default_factory=list)
    store_away: bool = False
    slow: asyncio.Event | None = None
    nobody: str | None = None
    unknown: StoreFault | None = None
    drafts: list[ApprovalDraft] = field(default_factory=list)
    standing: Approval | None = None
    waiting: asyncio.Future[Approval] | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def use_grant(
        self, digest: str, owner_key: str, *, policy_version: str | None = None, session_id: str = ""
    ) -> Approval | None:
        self.used.append((digest, owner_key, policy_version, session_id))
        found = self.approval
        if found is None or found.state is not ApprovalState.APPROVED or not found.uses_left:
            return None
        self.approval = replace(found, uses_left=found.uses_left - 1)
        return self.approval

    async def nobody_may(self, asked: Sequence[Approval]) -> dict[str, str]:
        if self.unknown:
            raise self.unknown
        return {one.id: self.nobody for one in asked} if self.nobody else {}

    async def request(self, draft: ApprovalDraft) -> Approval:
        self.drafts.append(draft)
        if self.standing:
            return self.standing
        self.asked.set()
        if self.slow:
            await self.slow.wait()
        self.approval = Approval(
            "apr_1", draft.digest, ApprovalState.PENDING, draft.principal.owner_key, draft.principal, draft.target,
            draft.session_id, draft.text, draft.pairs, draft.rules, draft.terms, draft.policy_version, NOW,
            NOW + timedelta(hours=1), held=draft.held,
        )  # fmt: skip
        return self.approval

    def decided(self, approval_id: str) -> asyncio.Future[Approval]:
        self.waiting = asyncio.get_running_loop().create_future()
        return self.waiting

    async def get(self, approval_id: str) -> Approval | None:
        return self.approval

    async def latest(self, digest: str, owner_key: str) -> Approval | None:
        return self.approval

    async def withdraw(self, approval_id: str, reason: str) -> Approval:
        assert self.approval is not None
        self.withdrawn.append(reason)
        if self.approval.state is ApprovalState.PENDING:
            self.approval = replace(self.approval, state=ApprovalState.WITHDRAWN)
        return self.approval

    async def leave_open(self, approval_id: str) -> Approval:
        if self.store_away:
            raise StoreFault("away")
        assert self.approval is not None
        self.left_open.append(approval_id)
        return self.approval

    def decide(self, state: ApprovalState) -> None:
        assert self.approval is not None
        assert self.waiting is not None
        uses = 1 if state is ApprovalState.APPROVED else 0
        self.approval = replace(self.approval, state=state, uses_left=uses, decided_by="user:okta:dana")
        self.waiting.set_result(self.approval)


class Client:
    def __init__(self) -> None:
        self.notices: list[ParkedNotice] = []
        self.told = asyncio.Event()

    def parked(self, notice: ParkedNotice) -> None:
        self.notices.append(notice)
        self.told.set()


@dataclass
class Desk:
    """A session that asks."""

    approvals: OneApproval = field(default_factory=OneApproval)
    client: Client = field(default_factory=Client)
    records: list[RecordKind] = field(default_factory=list)
    disk_full: bool = False
    policy_in_force: bool = True
    most_parked: int = 5
    asker: Principal = field(default_factory=task)

    def __post_init__(self) -> None:
        self.parking = Parking(
            cast(Approvals, self.approvals), ActionDigest(b"k" * 32), lambda one: f"https://x/{one}", self.most_parked
        )

    def record(self, kind: RecordKind, content: Content) -> None:
        if self.disk_full:
            raise JournalFault("no space")
        self.records.append(kind)

    def asks(
        self, action: Action = DELETE, *, waits: bool = True, only_asks: bool = False, **terms: Any
    ) -> asyncio.Task[Permit]:
        async def estimate(action: Action) -> Mapping[str, object]:
            return {"rows": 3}

        decision = Decision(Verdict.APPROVE, (RuleMatch("r", "approve"),), terms=ApprovalTerms(("group:dba",), **terms))
        judgement = Judgement(decision, Permit(("r",), (), needs_judgement=True))
        asking = Asking("ses_1", self.asker, ORDERS, "policy-1", waits, self.record, lambda: self.policy_in_force,
            only_asks=only_asks,
        )  # fmt: skip
        return asyncio.ensure_future(self.parking.permit(asking, action, judgement, self.client, estimate))


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_grant_is_bound_to_policy_and_session(desk: Desk) -> None:
    asking = desk.asks()
    await desk.client.told.wait()
    desk.approvals.decide(ApprovalState.APPROVED)
    permit = await asking
    assert (permit.approval_id, permit.durable, permit.needs_judgement) == ("apr_1", True, False)
    assert [used[2:] for used in desk.approvals.used] == [("policy-1", "ses_1")] * 2
    assert desk.records == [RecordKind.PARKED, RecordKind.DECIDED, RecordKind.EVENT]
    assert desk.approvals.withdrawn == []


async def test_news_of_an_approval_is_no_permission(desk: Desk) -> None:
    asking = desk.asks()
    await desk.client.told.wait()
    desk.approvals.decide(ApprovalState.APPROVED)
    assert desk.approvals.approval is not None
    desk.approvals.approval = replace(desk.approvals.approval, uses_left=0)  # another attempt was faster
    with pytest.raises(PolicyRefusal) as refused:
        await asking
    assert refused.value.pending


async def test_a_grant_is_not_used_under_a_policy_that_is_gone(desk: Desk) -> None:
    asking = desk.asks()
    await desk.client.told.wait()
    desk.policy_in_force = False
    desk.approvals.decide(ApprovalState.APPROVED)
    with pytest.raises(PolicyRefusal):
        await asking
    assert desk.approvals.approval is not None
    assert desk.approvals.approval.uses_left == 1


async def test_a_grant_that_is_overtaken_while_it_is_used_is_recorded_as_used(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = desk.approvals.use_grant

    async def overtaken(*asked: Any, **named: Any) -> Approval | None:
        desk.policy_in_force = False
        return await use(*asked, **named)

    asking = desk.asks()
    await desk.client.told.wait()
    monkeypatch.setattr(desk.approvals, "use_grant", overtaken)
    desk.approvals.decide(ApprovalState.APPROVED)
    with pytest.raises(PolicyRefusal, match="changed"):
        await asking
    assert desk.records == [RecordKind.PARKED, RecordKind.DECIDED, RecordKind.EVENT]


async def test_denied(desk: Desk) -> None:
    asking = desk.asks()
    await desk.client.told.wait()
    desk.approvals.decide(ApprovalState.DENIED)
    with pytest.raises(PolicyRefusal, match="denied by user:okta:dana"):
        await asking


async def test_for_who_does_not_come_back_no_answer_is_a_no() -> None:
    desk = Desk(asker=user())
    with pytest.raises(PolicyRefusal, match="nobody decided after 0 s") as refused:
        await desk.asks(hold=0.05)
    assert not refused.value.pending
    assert desk.approvals.withdrawn == ["nobody decided within 0 s"]
    assert desk.records == [RecordKind.PARKED, RecordKind.DECIDED]


async def test_what_a_task_asked_for_stays_open_for_its_retry(desk: Desk) -> None:
    with pytest.raises(PolicyRefusal, match="nobody decided within 0 s and approval apr_1 is pending") as refused:
        await desk.asks(hold=0.05)
    assert refused.value.pending
    assert (refused.value.approval_id, refused.value.approval_url) == ("apr_1", "https://x/apr_1")
    assert "`retries` of at least 1" in str(refused.value.hint)
    assert (desk.approvals.withdrawn, desk.approvals.left_open) == ([], ["apr_1"])
    assert desk.records == [RecordKind.PARKED], "nothing was decided"


async def test_a_decision_as_the_wait_ends_counts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def decided_just_now(approval_id: str) -> Approval:
        desk.approvals.decide(ApprovalState.APPROVED)
        assert desk.approvals.approval is not None
        return desk.approvals.approval

    monkeypatch.setattr(desk.approvals, "leave_open", decided_just_now)
    monkeypatch.setattr(desk.approvals, "decided", lambda _: _never(desk))
    assert (await desk.asks(hold=0.01)).approval_id == "apr_1"


def _never(desk: Desk) -> asyncio.Future[Approval]:
    desk.approvals.waiting = asyncio.get_running_loop().create_future()
    return asyncio.get_running_loop().create_future()


async def test_a_store_that_is_away_as_the_wait_ends_withdraws_nothing(desk: Desk) -> None:
    desk.approvals.store_away = True
    with capture_logs() as logs, pytest.raises(PolicyRefusal) as refused:
        await desk.asks(hold=0.01)
    assert refused.value.pending
    assert [line["event"] for line in logs] == ["approval.not_left_open"]


async def test_a_request_withdrawn_by_others_says_why(desk: Desk) -> None:
    asking = desk.asks()
    await desk.client.told.wait()
    assert desk.approvals.approval is not None
    desk.approvals.approval = replace(desk.approvals.approval, comment="the run was cleared")
    desk.approvals.decide(ApprovalState.WITHDRAWN)
    with pytest.raises(PolicyRefusal, match="approval apr_1 was withdrawn by .*: the run was cleared") as refused:
        await asking
    assert not refused.value.pending


@pytest.mark.parametrize(
    ("state", "hold"),
    [
        (TransactionState.IDLE, 600.0), (TransactionState.BEGUN, 600.0), (TransactionState.ACTIVE, 7.0),
        (TransactionState.FAILED, 7.0),
    ],
)  # fmt: skip
async def test_locks_shorten_the_wait(desk: Desk, state: TransactionState, hold: float) -> None:
    asking = desk.asks(replace(DELETE, transaction=state), hold_in_transaction=7.0)
    await desk.client.told.wait()
    assert desk.client.notices[0].hold == desk.approvals.drafts[0].hold == hold
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_who_goes_away_withdraws(desk: Desk) -> None:
    asking = desk.asks()
    await desk.client.told.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert desk.approvals.withdrawn == ["the client cancelled or went away"]


async def test_who_goes_away_while_the_request_is_written_leaves_none_behind(desk: Desk) -> None:
    desk.approvals.slow = asyncio.Event()
    asking = desk.asks()
    await desk.approvals.asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    desk.approvals.slow.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert desk.approvals.withdrawn == ["the client cancelled or went away"]
    assert desk.client.notices == []


async def test_a_request_that_cannot_be_recorded_is_withdrawn() -> None:
    desk = Desk(disk_full=True)
    with pytest.raises(JournalFault):
        await desk.asks()
    assert desk.approvals.withdrawn == ["the request could not be recorded"]


async def test_who_will_not_wait_is_told_at_once_and_the_request_stays(desk: Desk) -> None:
    with pytest.raises(PolicyRefusal) as refused:
        await desk.asks(waits=False)
    assert refused.value.pending
    assert refused.value.approval_id == "apr_1"
    assert desk.approvals.withdrawn == []


async def test_who_only_asks_uses_no_grant(desk: Desk) -> None:
    with pytest.raises(PolicyRefusal, match="approval apr_1 is pending"):
        await desk.asks(waits=False, only_asks=True)
    assert desk.approvals.approval is not None
    given = replace(desk.approvals.approval, state=ApprovalState.APPROVED, uses_left=1, decided_by="user:okta:dana")
    desk.approvals.standing = given
    with pytest.raises(PolicyRefusal, match=r"approval apr_1 was given by user:okta:dana: nothing runs") as refused:
        await desk.asks(waits=False, only_asks=True)
    assert "state=approved" in (refused.value.detail or "")
    assert desk.approvals.used == []


@pytest.mark.parametrize("state", [ApprovalState.DENIED, ApprovalState.EXPIRED])
async def test_al_03_a_run_that_was_told_no_asks_nobody_again(desk: Desk, state: ApprovalState) -> None:
    """It starts over by itself to come back for its answer: a no would otherwise only bring the next question."""
    asker = task()
    assert asker.attempt is not None
    desk.asker = replace(asker, attempt=replace(asker.attempt, of_run=True))
    with pytest.raises(PolicyRefusal, match="is pending"):
        await desk.asks(waits=False)
    assert desk.approvals.approval is not None
    desk.approvals.approval = replace(desk.approvals.approval, state=state)
    for waits in (False, True):
        with pytest.raises(PolicyRefusal) as refused:
            await desk.asks(waits=waits)
        assert f"state={state}" in (refused.value.detail or "")
        assert refused.value.hint == "The answer stands for this run; another run asks anew."
        assert not refused.value.pending
    assert len(desk.approvals.drafts) == 1
    desk.asker = asker  # a task of which the try is known may be cleared by somebody, and asks again
    with pytest.raises(PolicyRefusal, match="is pending"):
        await desk.asks(waits=False)


async def test_that_nobody_may_decide_is_said_at_once(desk: Desk) -> None:
    desk.approvals.nobody = "no live key is of group:dba"
    with capture_logs() as logs, pytest.raises(PolicyRefusal, match=r"is pending, and nobody may decide .* group:dba"):
        await desk.asks(waits=False)
    assert [(line["event"], line["approval"]) for line in logs] == [("approval.nobody_may_decide", "apr_1")]
    with pytest.raises(PolicyRefusal, match=r"is pending, and nobody may decide .* group:dba"):
        await desk.asks(hold=0.01)
    desk.asker = user()
    with pytest.raises(PolicyRefusal, match="nobody decided after 0 s: .* nobody could have: no live key is of group"):
        await desk.asks(hold=0.01)
    assert desk.client.notices[0].nobody_may == "no live key is of group:dba"


async def test_a_store_that_cannot_say_so_stops_no_request(desk: Desk) -> None:
    desk.approvals.unknown = StoreFault("away")
    asking = desk.asks()
    await desk.client.told.wait()
    assert desk.client.notices[0].nobody_may is None
    desk.approvals.decide(ApprovalState.APPROVED)
    assert (await asking).approval_id == "apr_1"


async def test_one_too_many_is_told_at_once() -> None:
    desk = Desk(most_parked=1)
    first = desk.asks()
    await desk.client.told.wait()
    with pytest.raises(PolicyRefusal) as refused:
        await desk.asks(does("sql.delete public.customers"))
    assert refused.value.pending
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_what_is_streamed_needs_a_rule_that_says_so(desk: Desk) -> None:
    streaming = replace(DELETE, streams=True)
    with pytest.raises(PolicyRefusal, match="nobody can approve data they do not see"):
        await desk.asks(streaming)
    with pytest.raises(PolicyRefusal) as refused:
        await desk.asks(streaming, waits=False, streams=True)
    assert refused.value.pending
