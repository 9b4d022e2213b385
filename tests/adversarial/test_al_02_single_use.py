"""AL-02 at the approvals service: a decision is about one digest, is made once, and is used as often as it says."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import update

from taskgate.approvals.digest import ActionDigest
from taskgate.approvals.requests import ApprovalClosed
from taskgate.domain import Action, ApprovalState, Environment, Facts, Pair, Parameter, Target
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.tables import approvals as approvals_table
from tests.integration.approvals.conftest import gateway
from tests.integration.approvals.setting import TERMS, Gateway, draft, task
from tests.integration.store.databases import database, migrated_file, migrated_template, store_url

__all__ = ["database", "gateway", "migrated_file", "migrated_template", "store_url"]

TARGET = Target("orders-db", "postgres", "10.0.0.5", 5432, "orders", "app", "env:ORDERS")
ACTION = Action(
    "postgres",
    "DELETE FROM public.orders WHERE id = $1",
    (Facts((Pair("sql.delete", "public.orders"),)),),
    Environment("etl", "public", (), 7),
    (Parameter(23, 0, b"7"),),
    (23,),
)


def of(action: Action = ACTION, target: Target = TARGET, policy_version: str = "p1") -> str:
    return ActionDigest(bytes(32)).of(
        action, target=target, policy_version=policy_version, owner_key=task().owner_key, row_bound=None
    )


@pytest.mark.parametrize(
    "changed",
    [
        of(replace(ACTION, text="DELETE FROM public.orders WHERE id >= $1")),
        of(replace(ACTION, parameters=(Parameter(23, 0, b"8"),))),
        of(replace(ACTION, parameter_types=(25,))),
        of(target=replace(TARGET, host="10.0.0.6")),
        of(replace(ACTION, environment=replace(ACTION.environment, catalog_version=8))),
        of(replace(ACTION, environment=replace(ACTION.environment, search_path="evil"))),
        of(policy_version="p2"),
    ],
    ids=["statement", "parameters", "types", "target", "schema version", "search_path", "policy"],
)
async def test_al_02_what_changed_after_the_decision_finds_no_grant(gateway: Gateway, changed: str) -> None:
    alice = await gateway.person("alice")
    approval = await gateway.approvals.request(draft(of()))
    await gateway.approvals.decide(approval.id, alice.id, True)
    assert await gateway.approvals.use_grant(changed, task().owner_key) is None
    assert await gateway.approvals.use_grant(of(), task().owner_key) is not None


async def test_al_02_deciding_twice_decides_once(gateway: Gateway) -> None:
    """A link opened twice, a chat message retried: the second is told, and adds no use."""
    alice = await gateway.person("alice")
    approval = await gateway.approvals.request(draft())
    outcomes = await asyncio.gather(
        *(gateway.approvals.decide(approval.id, alice.id, True) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(outcome, ApprovalClosed) for outcome in outcomes) == 7
    used = [await gateway.approvals.use_grant("d" * 64, task().owner_key) for _ in range(3)]
    assert [bool(grant) for grant in used] == [True, False, False]
    with pytest.raises(ApprovalClosed):
        await gateway.approvals.decide(approval.id, alice.id, True)
    assert await gateway.approvals.use_grant("d" * 64, task().owner_key) is None


async def test_al_02_race_of_approve_deny_expire_and_use(gateway: Gateway, store_url: str) -> None:
    """Whatever wins, a use happens only after an approval that stands, at most once."""
    other = Gateway(Database(store_url), gateway.master)
    alice, bob = await gateway.person("alice"), await gateway.person("bob")
    for number in range(10):
        digest = f"{number:064d}"
        approval = await gateway.approvals.request(draft(digest))

        async def overdue(approval_id: str = approval.id) -> None:
            async with other.database.statement(writes=True) as connection:
                past = update(approvals_table).where(approvals_table.c.id == approval_id)
                await connection.execute(past.values(expires_at=database_time(-1)))
            await other.approvals.expire_due()

        results = await asyncio.gather(
            gateway.approvals.decide(approval.id, alice.id, True),
            other.approvals.decide(approval.id, bob.id, False),
            overdue(),
            *(
                side.approvals.use_grant(digest, task().owner_key, session_id=str(index))
                for index, side in enumerate((gateway, other, gateway, other))
            ),
            return_exceptions=True,
        )
        decisions = [result for result in results[:2] if not isinstance(result, BaseException)]
        assert all(isinstance(result, ApprovalClosed) for result in results[:2] if isinstance(result, BaseException))
        assert len(decisions) <= 1
        final = await gateway.approvals.get(approval.id)
        assert final is not None
        expected = decisions[0].state if decisions else ApprovalState.EXPIRED  # type: ignore[union-attr]
        assert final.state is expected
        uses = [result for result in results[3:] if result is not None]
        assert len(uses) <= (1 if final.state is ApprovalState.APPROVED else 0)
        assert await gateway.approvals.use_grant(digest, task().owner_key) is None  # it is past its time
    await other.database.close()


@pytest.mark.parametrize("skew", [-600, 600])
async def test_al_02_clocks_of_gateways_decide_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, skew: int
) -> None:
    """A gateway whose clock is ten minutes off asks, decides and uses: expiry is the store's."""
    import time

    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + skew)
    alice = await gateway.person("alice")
    short = replace(TERMS, expires=300)
    approval = await gateway.approvals.request(draft(terms=short))
    assert (approval.expires_at - approval.requested_at).total_seconds() == pytest.approx(300, abs=0.1)
    assert await gateway.approvals.expire_due() == 0
    await gateway.approvals.decide(approval.id, alice.id, True)
    assert await gateway.approvals.use_grant("d" * 64, task().owner_key) is not None
    late = await gateway.approvals.request(draft("e" * 64, terms=short))
    async with gateway.database.statement(writes=True) as connection:
        past = update(approvals_table).where(approvals_table.c.id == late.id)
        await connection.execute(past.values(expires_at=database_time(-0.01)))
    with pytest.raises(ApprovalClosed):
        await gateway.approvals.decide(late.id, alice.id, True)


async def test_al_02_approval_says_what_was_asked_not_what_was_asked_later(gateway: Gateway) -> None:
    """Somebody asks under the same digest with another text (a broken or lying gateway): the shown text stays."""
    approval = await gateway.approvals.request(draft())
    again = await gateway.approvals.request(draft(text="DROP TABLE orders", pairs=("sql.ddl public.orders",)))
    assert (again.id, again.text, again.pairs) == (approval.id, approval.text, approval.pairs)
