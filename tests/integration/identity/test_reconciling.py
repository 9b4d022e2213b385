"""What nobody vouches for ends, however its orchestrator keeps the gateway busy; what ends when it answers is in
test_ends_of_attempts.py and test_ends_of_flow_runs.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest

from taskgate.identity.orchestrators import reconciling
from taskgate.identity.orchestrators.over import Over
from taskgate.identity.orchestrators.prefect.account import PrefectAccount
from taskgate.identity.orchestrators.prefect.rest import PrefectRest
from taskgate.store.attempts import KnownAttempt
from taskgate.store.database import Database
from taskgate.wiring import background as background_module
from taskgate.wiring.background import Background
from tests.integration.identity.gateway_of_prefect import SOURCE, Gateway
from tests.integration.identity.prefect_stand_in import Prefect

Overs = Callable[[Sequence[KnownAttempt]], Awaitable[Mapping[str, Over | None]]]


@asynccontextmanager
async def reconciled(gateway: Gateway) -> AsyncIterator[asyncio.Task[None]]:
    running = asyncio.create_task(gateway.reconciling.run())
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def held(gateway: Gateway) -> str:
    return await gateway.issued(await gateway.token(gateway.prefect.deployed()))


async def ended(gateway: Gateway, credential: str, seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while await gateway.live(credential):
            await asyncio.sleep(0.05)


async def test_a_look_that_never_ends_keeps_nothing_alive(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway(database, check_interval=0.05, lost_after=0.5)
    credential, looking = await held(gateway), asyncio.Event()

    async def overs(_: Sequence[KnownAttempt]) -> Mapping[str, Over | None]:
        looking.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(gateway.source, "overs", overs)
    async with reconciled(gateway) as running:
        await asyncio.wait_for(looking.wait(), 5)
        await ended(gateway, credential)
        assert not running.done()


async def test_a_prefect_that_answers_a_byte_at_a_time_keeps_nothing_alive(database: Database) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    gateway = Gateway(database, check_interval=0.05, lost_after=0.5)
    credential = await held(gateway)
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
    settings = gateway.source.settings.model_copy(update={"url": url})
    async with httpx.AsyncClient(timeout=0.2, trust_env=False) as client:
        gateway.source.rest = PrefectRest(SOURCE, PrefectAccount(settings, Prefect()._secret, client))
        async with reconciled(gateway):
            await ended(gateway, credential)
    server.close()


async def test_a_look_that_always_fails_keeps_nothing_alive(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_module, "PAUSE", 0.05)
    gateway = Gateway(database, check_interval=0.05, lost_after=2)
    credential, looked = await held(gateway), 0

    async def overs(_: Sequence[KnownAttempt]) -> Mapping[str, Over | None]:
        nonlocal looked
        looked += 1
        raise AttributeError("'str' object has no attribute 'get'")

    monkeypatch.setattr(gateway.source, "overs", overs)
    background = Background()
    background.spawn_again("attempts", gateway.reconciling.run)
    await ended(gateway, credential)
    assert looked > 1
    assert not background.failed.done()
    await background.stop()


async def test_a_gateway_that_was_down_asks_before_it_gives_anything_up(database: Database) -> None:
    gateway = Gateway(database, check_interval=0.3, lost_after=0.2)
    credential = await held(gateway)
    await asyncio.sleep(0.5)  # nobody looked for longer than lost_after
    async with reconciled(gateway):
        await asyncio.sleep(0.1)
        assert await gateway.live(credential)


@pytest.mark.parametrize("loop", ["check", "_lost"])
async def test_what_ends_one_of_both_loops_ends_the_other(
    database: Database, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    gateway = Gateway(database, check_interval=0.01)

    async def failing() -> int:
        raise AttributeError(loop)

    monkeypatch.setattr(gateway.reconciling, loop, failing)
    before = asyncio.all_tasks()
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(gateway.reconciling.run(), 5)
    assert caught.group_contains(AttributeError, match=loop)
    assert asyncio.all_tasks() == before


async def test_both_loops_end_with_it(database: Database) -> None:
    gateway, before = Gateway(database, check_interval=0.01), asyncio.all_tasks()
    async with reconciled(gateway) as running:
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks() - before) == 3
    assert running.cancelled()
    assert asyncio.all_tasks() == before


async def test_a_process_that_stood_still_gives_nothing_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a pause of the whole process the end of patience is due, and nobody was asked meanwhile."""
    gateway, given_up = Gateway(database, check_interval=0.1, lost_after=0.1), 0

    async def lost() -> None:
        nonlocal given_up
        given_up += 1

    class Late:
        now = 0.0

        @classmethod
        def monotonic(cls) -> float:
            cls.now += 1.0
            return cls.now

    monkeypatch.setattr(reconciling, "time", Late)
    monkeypatch.setattr(gateway.reconciling, "_lost", lost)
    losing = asyncio.create_task(gateway.reconciling._losing())
    await asyncio.sleep(0.5)
    assert given_up == 0
    losing.cancel()
    await asyncio.gather(losing, return_exceptions=True)
