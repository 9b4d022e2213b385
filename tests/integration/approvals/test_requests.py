from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import select

from taskgate.approvals import requests
from taskgate.approvals.faults import TooManyPending
from taskgate.approvals.requests import ApprovalClosed, ApprovalFilter, ApprovalUnknown
from taskgate.domain import ApprovalState, Assurance, Attempt, Principal, PrincipalKind, TaskKey
from taskgate.errors import ClientFault, PolicyRefusal
from taskgate.store.database import Database
from taskgate.store.ids import IdPrefix, is_id, new_id
from taskgate.store.sessions import SessionIndex
from taskgate.store.tables import approval_votes, grant_uses
from taskgate.store.tables import approvals as approvals_table
from taskgate.store.tables import signals as signals_table
from tests.integration.approvals.setting import PARAMETERS, TERMS, Gateway, draft, task


async def approved(gateway: Gateway, digest: str = "d" * 64, uses: int = 1) -> str:
    alice = await gateway.person("alice")
    approval = await gateway.approvals.request(draft(digest, terms=replace(TERMS, uses=uses)))
    await gateway.approvals.decide(approval.id, alice.id, True)
    return approval.id


async def test_request_comes_back_as_it_was_asked(gateway: Gateway) -> None:
    asked = draft(held=True, terms=replace(TERMS, channels=("airflow",)))
    approval = await gateway.approvals.request(asked)
    assert is_id(IdPrefix.APPROVAL, approval.id)
    assert approval.state is ApprovalState.PENDING
    assert await gateway.approvals.get(approval.id) == approval
    for name in ("digest", "principal", "target", "session_id", "text", "pairs", "rules", "terms", "environment"):
        assert getattr(approval, name) == getattr(asked, name), name
    assert approval.owner_key == asked.principal.owner_key
    assert (approval.expires_at - approval.requested_at).total_seconds() == pytest.approx(600, abs=0.1)
    assert approval.held
    assert approval.uses_left == 0


async def test_nobody_floods_those_who_decide(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MOST_PENDING", 3)
    alice = await gateway.person("alice")
    bob = Principal(PrincipalKind.USER, "bob", "taskgate", Assurance.VERIFIED, "api-key")
    first, *_ = [await gateway.approvals.request(draft(digit * 64)) for digit in "abc"]
    with pytest.raises(TooManyPending, match="3 requests of the same owner"):
        await gateway.approvals.request(draft("d" * 64))
    assert (await gateway.approvals.request(draft("a" * 64))).id == first.id, "asking again asks for no more"
    assert await gateway.approvals.request(draft("d" * 64, principal=bob))
    await gateway.approvals.decide(first.id, alice.id, False)
    assert await gateway.approvals.request(draft("d" * 64))


async def test_parameters_are_not_readable_in_the_store(gateway: Gateway) -> None:
    await gateway.approvals.request(draft())
    async with gateway.database.statement() as connection:
        row = (await connection.execute(select(approvals_table))).one()
    assert b"canary" not in bytes(row.sealed_parameters)
    assert "canary" not in repr(row).replace(repr(row.sealed_parameters), "")


async def test_asking_again_finds_the_open_request(gateway: Gateway) -> None:
    first = await gateway.approvals.request(draft())
    again = await gateway.approvals.request(draft(principal=task("ti-2"), session_id="ses_2"))
    assert again.id == first.id
    assert again.session_id == "ses_2"
    other = await gateway.approvals.request(draft(digest="e" * 64))
    assert other.id != first.id


async def test_many_asking_at_once_make_one_request(gateway: Gateway, store_url: str) -> None:
    others = [Gateway(Database(store_url), gateway.master) for _ in range(3)]
    made = await asyncio.gather(*((gateway, *others)[number % 4].approvals.request(draft()) for number in range(24)))
    assert len({approval.id for approval in made}) == 1
    for other in others:
        await other.database.close()


async def test_approved_and_unused_request_is_found_again(gateway: Gateway) -> None:
    approval_id = await approved(gateway)
    found = await gateway.approvals.request(draft())
    assert found.id == approval_id
    assert found.state is ApprovalState.APPROVED
    await gateway.approvals.use_grant("d" * 64, task().owner_key)
    assert (await gateway.approvals.request(draft())).id != approval_id


async def test_grant_is_used_once(gateway: Gateway) -> None:
    approval_id = await approved(gateway)
    used = await gateway.approvals.use_grant("d" * 64, task().owner_key, policy_version="p1", session_id="ses_9")
    assert used is not None
    assert (used.id, used.uses_left) == (approval_id, 0)
    assert used.decided_by == "user:taskgate:alice"
    assert await gateway.approvals.use_grant("d" * 64, task().owner_key) is None
    async with gateway.database.statement() as connection:
        uses = (await connection.execute(select(grant_uses))).all()
    assert [(use.approval_id, use.session_id) for use in uses] == [(approval_id, "ses_9")]


@pytest.mark.parametrize("uses", [1, 3])
async def test_grant_is_used_exactly_as_often_as_allowed_whoever_races(
    gateway: Gateway, store_url: str, uses: int
) -> None:
    """Forty takers in four processes: `uses` of them get it."""
    await approved(gateway, uses=uses)
    gateways = [gateway, *(Gateway(Database(store_url), gateway.master) for _ in range(3))]
    taken = await asyncio.gather(
        *(
            gateways[number % 4].approvals.use_grant("d" * 64, task().owner_key, session_id=f"ses_{number}")
            for number in range(40)
        )
    )
    won = [approval for approval in taken if approval]
    assert len(won) == uses
    assert sorted(approval.uses_left for approval in won) == list(range(uses))
    async with gateway.database.statement() as connection:
        assert len((await connection.execute(select(grant_uses))).all()) == uses
    for other in gateways[1:]:
        await other.database.close()


async def test_grant_is_for_its_digest_owner_and_policy_only(gateway: Gateway) -> None:
    await approved(gateway)
    owner = task().owner_key
    assert await gateway.approvals.use_grant("e" * 64, owner) is None
    assert await gateway.approvals.use_grant("d" * 64, owner + "x") is None
    assert await gateway.approvals.use_grant("d" * 64, owner, policy_version="p2") is None
    assert await gateway.approvals.use_grant("d" * 64, owner, policy_version="p1") is not None


async def test_nothing_but_an_approval_gives_a_grant(gateway: Gateway) -> None:
    alice = await gateway.person("alice")
    owner = task().owner_key
    approval = await gateway.approvals.request(draft())
    assert await gateway.approvals.use_grant("d" * 64, owner) is None
    denied = await gateway.approvals.decide(approval.id, alice.id, False, "not today")
    assert (denied.state, denied.comment, denied.uses_left) == (ApprovalState.DENIED, "not today", 0)
    assert await gateway.approvals.use_grant("d" * 64, owner) is None


async def test_grant_ends_with_its_expiry(gateway: Gateway) -> None:
    approval_id = await approved(gateway)
    await gateway.let_time_pass(approval_id, 601)
    assert await gateway.approvals.use_grant("d" * 64, task().owner_key) is None


async def test_first_decision_stands_and_the_second_is_told(gateway: Gateway) -> None:
    alice, bob = await gateway.person("alice"), await gateway.person("bob")
    approval = await gateway.approvals.request(draft())
    await gateway.approvals.decide(approval.id, alice.id, True, "ok")
    with pytest.raises(ApprovalClosed, match="already approved by user:taskgate:alice") as closed:
        await gateway.approvals.decide(approval.id, bob.id, False)
    assert closed.value.approval.state is ApprovalState.APPROVED
    async with gateway.database.statement() as connection:
        votes = (await connection.execute(select(approval_votes))).all()
    assert [(vote.approver_id, vote.approve, vote.comment) for vote in votes] == [(alice.id, True, "ok")]


async def test_of_many_endings_at_once_exactly_one_wins(gateway: Gateway, store_url: str) -> None:
    people = [await gateway.person(f"person{number}") for number in range(6)]
    other = Gateway(Database(store_url), gateway.master)
    seen: Counter[ApprovalState] = Counter()
    for number in range(12):
        digest = f"{number:064d}"
        approval = await gateway.approvals.request(draft(digest, held=True))
        endings = [
            (gateway, other)[index % 2].approvals.decide(approval.id, person.id, index % 3 == 0)
            for index, person in enumerate(people)
        ]
        results = await asyncio.gather(
            *endings, gateway.approvals.withdraw(approval.id, "gone"), return_exceptions=True
        )
        decisions = [result for result in results[:-1] if not isinstance(result, BaseException)]
        refused = [result for result in results[:-1] if isinstance(result, BaseException)]
        assert all(isinstance(result, ApprovalClosed) for result in refused)
        final = await gateway.approvals.get(approval.id)
        assert final is not None
        assert len(decisions) == (0 if final.state is ApprovalState.WITHDRAWN else 1)
        if decisions:
            assert decisions[0].state is final.state
        async with gateway.database.statement() as connection:
            sent = select(signals_table).where(
                signals_table.c.subject == approval.id, signals_table.c.kind == "approval.decided"
            )
            assert [row.payload["state"] for row in (await connection.execute(sent)).all()] == [final.state.value]
        seen[final.state] += 1
    assert sum(seen.values()) == 12
    await other.database.close()


async def test_decision_in_another_process_arrives_within_300_ms(gateway: Gateway, store_url: str) -> None:
    other = Gateway(Database(store_url), gateway.master)
    alice = await gateway.person("alice")
    approval = await gateway.approvals.request(draft(held=True))
    async with gateway.running():
        waiting = [gateway.approvals.decided(approval.id) for _ in range(3)]
        waiting[0].cancel()  # one of several waiters goes away: nobody else notices
        await asyncio.sleep(0.1)
        assert not waiting[1].done()
        await other.approvals.decide(approval.id, alice.id, True)
        committed = time.monotonic()
        decided = await asyncio.wait_for(waiting[1], 3)
        assert time.monotonic() - committed <= 0.35
        assert decided.state is ApprovalState.APPROVED
        assert (await waiting[2]).id == approval.id
    await other.database.close()


async def test_what_is_already_decided_resolves_at_once(gateway: Gateway) -> None:
    approval_id = await approved(gateway)
    assert (await asyncio.wait_for(gateway.approvals.decided(approval_id), 1)).state is ApprovalState.APPROVED
    with pytest.raises(ClientFault):
        await asyncio.wait_for(gateway.approvals.decided(new_id(IdPrefix.APPROVAL)), 1)


async def test_nobody_deciding_is_a_no_and_is_heard(gateway: Gateway) -> None:
    alice = await gateway.person("alice")
    approval = await gateway.approvals.request(draft(held=True))
    async with gateway.running():
        waiting = gateway.approvals.decided(approval.id)
        await gateway.let_time_pass(approval.id, 601)
        assert (await asyncio.wait_for(waiting, 3)).state is ApprovalState.EXPIRED
    with pytest.raises(ApprovalClosed, match="expired"):
        await gateway.approvals.decide(approval.id, alice.id, True)
    assert await gateway.approvals.use_grant("d" * 64, task().owner_key) is None
    assert await gateway.approvals.expire_due() == 0


async def test_past_its_time_it_cannot_be_decided_even_before_the_sweep(gateway: Gateway) -> None:
    alice = await gateway.person("alice")
    approval = await gateway.approvals.request(draft())
    await gateway.let_time_pass(approval.id, 601)
    with pytest.raises(ApprovalClosed, match="expired"):
        await gateway.approvals.decide(approval.id, alice.id, True)
    fresh = await gateway.approvals.request(draft())
    assert fresh.id != approval.id
    old = await gateway.approvals.get(approval.id)
    assert old is not None
    assert old.state is ApprovalState.EXPIRED


async def test_last_waiting_connection_takes_the_request_with_it(gateway: Gateway) -> None:
    alice = await gateway.person("alice")
    approval = await gateway.approvals.request(draft(held=True))
    await gateway.approvals.request(draft(held=True, session_id="ses_2"))
    still = await gateway.approvals.withdraw(approval.id, "client went away")
    assert (still.state, still.held) == (ApprovalState.PENDING, True)
    gone = await gateway.approvals.withdraw(approval.id, "client went away")
    assert (gone.state, gone.held, gone.comment) == (ApprovalState.WITHDRAWN, False, "client went away")
    with pytest.raises(ApprovalClosed, match="withdrawn"):
        await gateway.approvals.decide(approval.id, alice.id, True)


async def test_it_says_until_when_a_connection_waits(gateway: Gateway) -> None:
    """The longest wait counts; nobody waits once all have gone, and no longer than the request lives."""
    first = await gateway.approvals.request(draft(held=True, hold=120.0))
    assert first.waits_until is not None
    assert 100 < (first.waits_until - first.requested_at).total_seconds() < 140
    second = await gateway.approvals.request(draft(held=True, hold=5.0, session_id="ses_2"))
    assert second.waits_until == first.waits_until
    back = await gateway.approvals.request(draft(session_id="ses_3"))  # who comes back later does not wait
    assert back.waits_until == first.waits_until
    for _ in range(2):
        left = await gateway.approvals.withdraw(first.id, "went away")
    assert (left.state, left.waits_until) == (ApprovalState.PENDING, None)
    again = await gateway.approvals.request(draft(held=True, hold=5.0, session_id="ses_4"))
    assert again.waits_until is not None
    assert again.waits_until < first.waits_until
    long = await gateway.approvals.request(draft("e" * 64, held=True, hold=7200.0))
    assert long.waits_until == long.expires_at
    await gateway.approvals.decide(again.id, (await gateway.person("dana")).id, True)
    decided = await gateway.approvals.get(again.id)
    assert decided is not None
    assert decided.waits_until is None


async def test_request_of_one_who_comes_back_outlives_connections(gateway: Gateway) -> None:
    approval = await gateway.approvals.request(draft(held=True))
    await gateway.approvals.request(draft(held=False))
    left = await gateway.approvals.withdraw(approval.id, "client went away")
    assert (left.state, left.held) == (ApprovalState.PENDING, False)


async def test_what_is_left_open_stays_for_the_retry(gateway: Gateway) -> None:
    first = await gateway.approvals.request(draft(held=True, hold=5.0))
    left = await gateway.approvals.leave_open(first.id)
    assert (left.state, left.held, left.waits_until) == (ApprovalState.PENDING, False, None)
    retry = await gateway.approvals.request(draft(principal=task("ti-2"), session_id="ses_2", held=True, hold=5.0))
    assert (retry.id, retry.held) == (first.id, True)
    gone = await gateway.approvals.withdraw(first.id, "the retry's worker was killed")
    assert (gone.state, gone.held) == (ApprovalState.PENDING, False)
    await gateway.approvals.decide(first.id, (await gateway.person("alice")).id, True)
    assert (await gateway.approvals.leave_open(first.id)).state is ApprovalState.APPROVED
    assert await gateway.approvals.use_grant("d" * 64, task("ti-3").owner_key) is not None
    with pytest.raises(ApprovalUnknown):
        await gateway.approvals.leave_open(new_id(IdPrefix.APPROVAL))


async def test_everything_one_task_asked_for_is_withdrawn_at_once(gateway: Gateway, store_url: str) -> None:
    """Held, left open or refused as pending; what was decided stays decided, and no other task's is touched."""
    other_task = replace(task(), attempt=Attempt("ti-9", TaskKey("prod", "etl", "run-1", "clean", 3)))
    alice = await gateway.person("alice")
    granted = await gateway.approvals.request(draft("a" * 64))
    await gateway.approvals.decide(granted.id, alice.id, True)
    held = await gateway.approvals.request(draft("b" * 64, held=True))
    await gateway.approvals.request(draft("b" * 64, held=True, session_id="ses_2"))
    detached = await gateway.approvals.request(draft("c" * 64))
    others = await gateway.approvals.request(draft("b" * 64, principal=other_task))
    elsewhere = Gateway(Database(store_url), gateway.master)
    async with gateway.running():
        waiting = gateway.approvals.decided(held.id)
        assert await elsewhere.approvals.withdraw_all(task().owner_key, "the run was cleared") == 2
        heard = await asyncio.wait_for(waiting, 3)
    assert (heard.state, heard.held, heard.comment) == (ApprovalState.WITHDRAWN, False, "the run was cleared")
    states = await gateway.approvals.states([one.id for one in (granted, held, detached, others)])
    assert [states[one.id].value for one in (granted, held, detached, others)] == [
        "approved", "withdrawn", "withdrawn", "pending",
    ]  # fmt: skip
    assert await gateway.approvals.withdraw_all(task().owner_key, "again") == 0
    assert (await gateway.approvals.request(draft("c" * 64))).id != detached.id, "asked again, it is another request"
    await elsewhere.database.close()


async def test_states_of_many_at_once(gateway: Gateway) -> None:
    approval_id = await approved(gateway)
    pending = await gateway.approvals.request(draft("e" * 64))
    asked = [approval_id, pending.id, new_id(IdPrefix.APPROVAL), "nonsense"]
    states = await gateway.approvals.states(asked)
    assert states == {approval_id: ApprovalState.APPROVED, pending.id: ApprovalState.PENDING}


async def test_what_is_pending_of_one_source_is_found(gateway: Gateway) -> None:
    """`prod/x` is another source than `prod`, and so is `Prod`; people have asked through none of them."""
    asked = {}
    for number, source in enumerate(("prod", "Prod", "prod/x", "prod")):
        key = TaskKey(source, "etl", f"run-{number}", "clean")
        asked[number] = await gateway.approvals.request(
            draft(f"{number:064d}", principal=replace(task(), source=source, attempt=Attempt(f"ti-{number}", key)))
        )
    person = Principal(PrincipalKind.USER, "bob", "prod", Assurance.VERIFIED, "oidc")
    await gateway.approvals.request(draft("e" * 64, principal=person))
    await gateway.approvals.decide(asked[3].id, (await gateway.person("alice")).id, False)
    for source, wanted in (("prod", [0]), ("Prod", [1]), ("prod/x", [2]), ("pro", []), ("%", [])):
        found = await gateway.approvals.search(ApprovalFilter(state=ApprovalState.PENDING, source=source))
        assert [one.principal for one in found.items] == [asked[number].principal for number in wanted], source


async def test_connection_of_a_dead_process_no_longer_counts_as_waiting(gateway: Gateway) -> None:
    session_ids = [new_id(IdPrefix.SESSION) for _ in range(2)]
    for process_id, session_id in zip(("gwp_dead", "gwp_living"), session_ids, strict=True):
        await SessionIndex(gateway.database, process_id).opened(
            session_id, task(), "orders-db", protocol="postgres", client_address="", policy_version="p1"
        )
    asked = [
        await gateway.approvals.request(draft(f"{number:064d}", session_id=session_id, held=True))
        for number, session_id in enumerate(session_ids)
    ]
    assert await SessionIndex(gateway.database, "gwp_living").close_abandoned() == 1
    assert await gateway.approvals.release_abandoned() == 1
    assert await gateway.approvals.release_abandoned() == 0
    after = [await gateway.approvals.get(approval.id) for approval in asked]
    assert [(found.state, found.held) for found in after if found] == [
        (ApprovalState.PENDING, False),
        (ApprovalState.PENDING, True),
    ]


async def test_withdrawing_after_the_decision_changes_nothing(gateway: Gateway) -> None:
    approval_id = await approved(gateway)
    assert (await gateway.approvals.withdraw(approval_id, "timeout")).state is ApprovalState.APPROVED
    with pytest.raises(ApprovalUnknown):
        await gateway.approvals.withdraw(new_id(IdPrefix.APPROVAL), "timeout")


async def test_search(gateway: Gateway) -> None:
    first = await approved(gateway)
    second = (await gateway.approvals.request(draft("e" * 64, target="users-db", session_id="ses_2"))).id
    for filters, wanted in (
        (ApprovalFilter(), [second, first]),
        (ApprovalFilter(state=ApprovalState.PENDING), [second]),
        (ApprovalFilter(state=ApprovalState.APPROVED), [first]),
        (ApprovalFilter(states=(ApprovalState.PENDING, ApprovalState.DENIED)), [second]),
        (ApprovalFilter(states=(ApprovalState.PENDING, ApprovalState.APPROVED)), [second, first]),
        (ApprovalFilter(dag_id="etl", run_id="run-1", task_id="clean"), [second, first]),
        (ApprovalFilter(dag_id="etl", run_id="run-2"), []),
        (ApprovalFilter(target="users-db"), [second]),
        (ApprovalFilter(owner_key=task().owner_key), [second, first]),
        (ApprovalFilter(session_id="ses_2"), [second]),
        (ApprovalFilter(digest="d" * 64), [first]),
        (ApprovalFilter(digest="d" * 64, target="users-db"), []),
    ):
        assert [found.id for found in (await gateway.approvals.search(filters)).items] == wanted, filters
    page = await gateway.approvals.search(limit=1)
    assert [found.id for found in (await gateway.approvals.search(cursor=page.next_cursor)).items] == [first]


async def test_everything_survives_a_restart(gateway: Gateway, store_url: str) -> None:
    approval_id = await approved(gateway)
    pending = await gateway.approvals.request(draft("e" * 64))
    await gateway.database.close()
    again = Gateway(Database(store_url), gateway.master)
    assert (await again.approvals.get(pending.id)) == pending
    bob = await again.person("bob")
    assert await again.approvals.parameters(pending.id, bob.id) == PARAMETERS
    used = await again.approvals.use_grant("d" * 64, task().owner_key)
    assert used is not None
    assert used.id == approval_id
    await again.database.close()


async def test_comments_that_cannot_be_kept_are_refused(gateway: Gateway) -> None:
    alice = await gateway.person("alice")
    approval = await gateway.approvals.request(draft())
    with pytest.raises(ClientFault):
        await gateway.approvals.decide(approval.id, alice.id, True, "a\x00b")


async def test_unknown_approver_cannot_decide(gateway: Gateway) -> None:
    approval = await gateway.approvals.request(draft())
    for approver in (new_id(IdPrefix.API_KEY), "", "user:alice"):
        with pytest.raises(PolicyRefusal):
            await gateway.approvals.decide(approval.id, approver, True)
    with pytest.raises(ApprovalUnknown):
        await gateway.approvals.decide(new_id(IdPrefix.APPROVAL), (await gateway.person("alice")).id, True)
