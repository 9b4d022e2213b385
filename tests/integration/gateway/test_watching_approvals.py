"""Who watches approvals, through the end and the death of the gateway: the real process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator

import psycopg
import pytest

from taskgate.client import ApprovalEnded, AsyncClient, Client, WatchStarted
from taskgate.demo.stage import Stage
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope
from tests.integration.gateway.tasks import Task
from tests.integration.gateway.test_approvals_on_the_wire import asked

Events = AsyncGenerator[WatchStarted | ApprovalEnded, None]


@pytest.fixture
async def watcher(stage: Stage) -> AsyncIterator[AsyncClient]:
    make = stage.gateway.api_key
    key = await asyncio.to_thread(make, PrincipalKind.SERVICE, "triggerer", [Scope.APPROVALS_WATCH])
    async with AsyncClient(stage.gateway.url, key) as client:
        yield client


def ask(airflow: Client, order_id: int) -> str:
    refused_as_pending = pytest.raises(psycopg.errors.InsufficientPrivilege)
    with Task(airflow).connect(wait="refuse") as connection, refused_as_pending as refused:
        connection.execute("delete from public.orders where id = %s", (order_id,))
    return asked(refused.value)


async def following(events: Events, within: float = 5.0) -> WatchStarted | ApprovalEnded:
    return await asyncio.wait_for(anext(events), within)


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_a_watch_survives_the_gateway(
    stage: Stage, watcher: AsyncClient, airflow: Client, dana: Client, end: str
) -> None:
    """Decided before, and decided at once after: neither is lost, and the second arrives within five seconds."""
    before, after = [await asyncio.to_thread(ask, airflow, -number) for number in (1, 2)]
    events = watcher.watch_approvals()
    await following(events)
    await asyncio.to_thread(dana.deny, before)
    told = await following(events)
    assert isinstance(told, ApprovalEnded)
    assert told.id == before
    waiting = asyncio.create_task(following(events, 60))  # reconnects meanwhile
    started = time.monotonic()
    await asyncio.to_thread(getattr(stage.gateway, end))
    assert time.monotonic() - started < 2.5, "an open stream holds up the gateway's end"
    await asyncio.to_thread(stage.gateway.start)
    await asyncio.to_thread(dana.approve, after)
    decided = time.monotonic()
    assert isinstance(await waiting, WatchStarted)
    told = await following(events)
    assert isinstance(told, ApprovalEnded)
    assert (told.id, told.state) == (after, "approved")
    assert time.monotonic() - decided < 5
    await events.aclose()
