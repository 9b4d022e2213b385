"""Everybody hears of every end, from whichever process, once and in order; what the gateway keeps is bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import delete

from taskgate.approvals.feed import DecisionFeed, Ended, Reader, TooManyReaders
from taskgate.domain import ApprovalState
from taskgate.store.database import Database
from taskgate.store.tables import signals as signals_table
from tests.integration.approvals.setting import TERMS, Gateway, draft, task


async def taken(reader: Reader, count: int) -> list[Ended]:
    found: list[Ended] = []
    for _ in range(20):
        found += await reader.take(0.5)
        if len(found) >= count:
            break
    return found


async def test_every_end_is_told_whoever_brought_it_about(gateway: Gateway, store_url: str) -> None:
    other = Gateway(Database(store_url), gateway.master)
    alice = await gateway.person("alice")
    asked = [await other.approvals.request(draft(f"{number:064d}", held=number == 3)) for number in range(5)]
    async with gateway.running():
        readers = [gateway.approvals.feed.enter("tgk_1") for _ in range(2)]
        await other.approvals.decide(asked[0].id, alice.id, True)
        await gateway.approvals.decide(asked[1].id, alice.id, False)
        await other.let_time_pass(asked[2].id, 601)
        told = await taken(readers[0], 3)
        await other.approvals.withdraw(asked[3].id, "went away")
        told += await taken(readers[0], 1)
        assert {(one.approval_id, one.state) for one in told} == {
            (asked[0].id, ApprovalState.APPROVED),
            (asked[1].id, ApprovalState.DENIED),
            (asked[2].id, ApprovalState.EXPIRED),
            (asked[3].id, ApprovalState.WITHDRAWN),
        }
        assert [one.sequence for one in told] == sorted({one.sequence for one in told})
        assert min(one.sequence for one in told) > readers[0].start
        assert await taken(readers[1], 4) == told
        assert await readers[1].take(0.01) == []
    await other.database.close()


async def test_a_grant_that_is_void_is_told(gateway: Gateway) -> None:
    alice = await gateway.person("alice")
    approval = await gateway.approvals.request(draft(terms=replace(TERMS, uses=2)))
    await gateway.approvals.decide(approval.id, alice.id, True)
    async with gateway.running():
        reader = gateway.approvals.feed.enter("tgk_1")
        await gateway.keys.set_groups(alice.id, ())
        assert await gateway.approvals.use_grant("d" * 64, task().owner_key) is None
        assert [one.state for one in await taken(reader, 1)] == [ApprovalState.WITHDRAWN]


async def test_what_was_missed_is_found_by_its_number(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskgate.approvals.feed._PAGE", 2)
    alice = await gateway.person("alice")
    feed = gateway.approvals.feed
    ids = []
    for number in range(5):
        approval = await gateway.approvals.request(draft(f"{number:064d}"))
        await gateway.approvals.decide(approval.id, alice.id, number % 2 == 0)
        ids.append(approval.id)
    pages = [page async for page in feed.missed(0)]
    assert [len(page) for page in pages] == [2, 2, 1]
    everything = [one for page in pages for one in page]
    assert [one.approval_id for one in everything] == ids
    assert [one async for page in feed.missed(everything[2].sequence) for one in page] == everything[3:]
    assert [page async for page in feed.missed(everything[-1].sequence)] == []


async def test_it_says_where_it_does_not_know_any_more(gateway: Gateway) -> None:
    feed, signals = gateway.approvals.feed, gateway.signals
    assert await feed.knows_all_since(0), "nothing has ever happened"
    for number in range(4):
        await signals.send("session.kill", f"ses_{number}")
    assert await feed.knows_all_since(0)
    assert await feed.knows_all_since(4)
    assert not await feed.knows_all_since(5), "a number of another store, or of one set back"
    async with gateway.database.statement(writes=True) as connection:
        await connection.execute(delete(signals_table).where(signals_table.c.sequence <= 2))
    assert not await feed.knows_all_since(1)
    assert await feed.knows_all_since(2)
    async with gateway.database.statement(writes=True) as connection:
        await connection.execute(delete(signals_table))
    assert not await feed.knows_all_since(3)
    assert await feed.knows_all_since(4)


async def test_places_and_what_a_reader_leaves_are_bounded(gateway: Gateway) -> None:
    feed = DecisionFeed(gateway.signals, places=2, room=3)
    slow, other = feed.enter("tgk_1"), feed.enter("tgk_2")
    with pytest.raises(TooManyReaders):
        feed.enter("tgk_3")
    for sequence in range(3):
        slow.tell(Ended(sequence, "apr_1", ApprovalState.DENIED))
    assert not slow.over
    slow.tell(Ended(3, "apr_1", ApprovalState.DENIED))
    assert slow.over
    assert await slow.take(5) == []
    slow.tell(Ended(4, "apr_1", ApprovalState.DENIED))
    assert await slow.take(5) == [], "who is over is told nothing more"
    feed.leave(slow)
    feed.leave(slow)
    third = feed.enter("tgk_3")
    feed.stop()
    assert other.over
    assert third.over
    with pytest.raises(TooManyReaders):
        feed.enter("tgk_4")


async def test_a_revoked_key_hears_nothing_more(gateway: Gateway) -> None:
    alice, bob = await gateway.person("alice"), await gateway.person("bob")
    async with gateway.running():
        of_alice, of_bob = (gateway.approvals.feed.enter(one.id) for one in (alice, bob))
        await gateway.keys.revoke(alice.id, "test", "over")
        assert await of_alice.take(5) == []
        assert (of_alice.over, of_bob.over) == (True, False)
