"""Approvals watched over a real connection: what a triggerer does, and what a client of another making would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

import httpx
import pytest

from taskgate.api.routes import approval_feed
from taskgate.client import ApprovalEnded, AsyncClient, Client, NotPermitted, Unavailable, WatchStarted
from taskgate.client.models import ApprovalStanding
from taskgate.domain import ApprovalState
from taskgate.identity.scopes import Scope
from taskgate.store.ids import IdPrefix, new_id
from tests.unit.api.control_plane import draft
from tests.unit.cli.conftest import Running

Ask = Callable[[int], Awaitable[str]]
Deny = Callable[[str], Awaitable[None]]
Events = AsyncGenerator[WatchStarted | ApprovalEnded, None]


@pytest.fixture
async def watcher(running: Running) -> AsyncIterator[AsyncClient]:
    key = running.do(running.plane.key("triggerer", Scope.APPROVALS_WATCH))
    async with AsyncClient(running.url, key) as client:
        yield client


@pytest.fixture
def asks(running: Running) -> Ask:
    """Has something asked, and says the approval's id."""

    async def ask(number: int) -> str:
        approval = await asyncio.to_thread(running.do, running.plane.approvals.request(draft(f"{number:064d}")))
        found: str = approval.id
        return found

    return ask


@pytest.fixture
def deny(running: Running) -> Callable[[str], Awaitable[None]]:
    key = running.do(running.plane.key("dana", Scope.APPROVALS_READ, Scope.APPROVALS_DECIDE, user=True, groups=["dba"]))

    async def decide(approval_id: str) -> None:
        with Client(running.url, key) as dana:
            await asyncio.to_thread(dana.deny, approval_id)

    return decide


async def following(events: Events) -> WatchStarted | ApprovalEnded:
    return await asyncio.wait_for(anext(events), 5)


async def test_a_decision_reaches_who_watches(running: Running, watcher: AsyncClient, asks: Ask, deny: Deny) -> None:
    events = watcher.watch_approvals()
    started = await following(events)
    assert isinstance(started, WatchStarted)
    assert started.complete
    approval_id = await asks(1)
    await deny(approval_id)
    ended = await following(events)
    assert isinstance(ended, ApprovalEnded)
    assert (ended.id, ended.state) == (approval_id, ApprovalState.DENIED)
    assert ended.sequence > started.sequence


async def test_what_ended_between_two_connections_is_not_lost_nor_told_twice(
    running: Running, watcher: AsyncClient, asks: Ask, deny: Deny
) -> None:
    first, second, third = [await asks(number) for number in range(3)]
    events = watcher.watch_approvals()
    await following(events)
    await deny(first)
    assert (await following(events)).model_dump()["id"] == first
    await asyncio.to_thread(running.do, _cut_all(running))
    await deny(second)
    assert isinstance(await following(events), WatchStarted)
    assert (await following(events)).model_dump()["id"] == second
    await deny(third)
    assert (await following(events)).model_dump()["id"] == third


async def _cut_all(running: Running) -> None:
    for reader in tuple(running.plane.approvals.feed._readers):
        reader.end()


async def test_a_number_that_is_no_longer_known_is_said_to_be_so(running: Running, watcher: AsyncClient) -> None:
    started = await following(watcher.approval_events(since=2**40))
    assert isinstance(started, WatchStarted)
    assert (started.complete, started.sequence) == (False, 0)


async def test_it_says_that_it_is_there(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval_feed, "HEARTBEAT_EVERY", 0.05)
    key = await asyncio.to_thread(running.do, running.plane.key("curl", Scope.ADMIN))
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx.AsyncClient(base_url=running.url, headers=headers) as client,
        client.stream("GET", "/v1/approvals/watch") as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        beats = 0
        async for line in response.aiter_lines():
            beats += line == ": here"
            if beats == 3:
                break


async def test_a_key_that_is_revoked_hears_nothing_more(running: Running) -> None:
    secret = await asyncio.to_thread(running.do, running.plane.key("soon-gone", Scope.APPROVALS_WATCH))
    async with AsyncClient(running.url, secret) as client:
        events = client.approval_events()
        await following(events)
        revoking = running.plane.api_keys.revoke(secret.partition(".")[0], "test", "over")
        await asyncio.to_thread(running.do, revoking)
        with pytest.raises(StopAsyncIteration):
            await following(events)


async def test_places_are_freed_and_there_are_not_more_of_them(running: Running, watcher: AsyncClient) -> None:
    feed = running.plane.approvals.feed
    feed._places = 2
    streams = [watcher.approval_events() for _ in range(2)]
    for stream in streams:
        await following(stream)
    with pytest.raises(Unavailable) as refused:
        await following(watcher.approval_events())
    assert refused.value.code == "too_many_streams"
    await streams[0].aclose()
    deadline = time.monotonic() + 5
    while len(feed._readers) > 1:
        assert time.monotonic() < deadline, "a client that went away keeps its place"
        await asyncio.sleep(0.02)
    assert isinstance(await following(watcher.approval_events()), WatchStarted)


async def test_states_of_many_and_nothing_else(running: Running, watcher: AsyncClient, asks: Ask, deny: Deny) -> None:
    pending, denied = await asks(1), await asks(2)
    await deny(denied)
    unknown = new_id(IdPrefix.APPROVAL)
    states = await watcher.approval_states([pending, denied, unknown, "nonsense", denied])
    assert states == {pending: ApprovalState.PENDING, denied: ApprovalState.DENIED}
    assert set(ApprovalStanding.model_fields) == {"id", "state"}
    for refused in (watcher.approval(pending), anext(watcher.approvals())):
        with pytest.raises(NotPermitted):
            await refused


async def test_reading_is_not_watching(running: Running) -> None:
    reader = await asyncio.to_thread(running.do, running.plane.key("reader", Scope.APPROVALS_READ))
    async with AsyncClient(running.url, reader) as client:
        with pytest.raises(NotPermitted):
            await following(client.watch_approvals())
        with pytest.raises(NotPermitted):
            await client.approval_states(["apr_1"])
