"""Cancel keys reach the process they name, unreadable on the way, and guessing costs the store next to nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from taskgate.store import cancels
from taskgate.store.cancels import CancelRequests
from taskgate.store.database import Database
from taskgate.store.processes import GatewayProcess
from taskgate.store.signals import Signals
from taskgate.store.tables import signals as signal_rows

KEY = b"\x12\x34\x56\x78" + b"secret-of-the-session"


class Process:
    """One on the store, as far as cancel requests go."""

    def __init__(self, database: Database) -> None:
        self.process = GatewayProcess(database, version="1")
        self.signals = Signals(database, interval=0.05)
        self.cancels = CancelRequests(self.process, self.signals)
        self.heard: list[tuple[bytes, str]] = []
        self.cancels.deliver = lambda key, address: self.heard.append((key, address))
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.process.register()
        self._tasks = [asyncio.create_task(self.signals.run()), asyncio.create_task(self.cancels.run())]
        await self.signals.started()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def processes(database: Database) -> AsyncIterator[tuple[Process, Process, Process]]:
    three = Process(database), Process(database), Process(database)
    for one in three:
        await one.start()
    yield three
    for one in three:
        await one.stop()


async def stored(database: Database) -> list[dict[str, object]]:
    async with database.statement() as connection:
        return [row.payload for row in (await connection.execute(select(signal_rows))).all()]


async def test_the_owner_hears_it_and_nobody_else(
    database: Database, processes: tuple[Process, Process, Process]
) -> None:
    owner, sender, third = processes
    assert await sender.cancels.forward(owner.process.number, KEY, "192.0.2.1")
    assert owner.heard == [(KEY, "192.0.2.1")]
    assert (sender.heard, third.heard) == ([], [])
    (payload,) = await stored(database)
    text = json.dumps(payload)
    assert KEY.hex() not in text
    assert "192.0.2.1" not in text


async def test_two_processes_of_one_number_both_hear_it(processes: tuple[Process, Process, Process]) -> None:
    owner, sender, same = processes
    same.process.number = owner.process.number
    same.process.id = owner.process.id + "x"

    def numbered(process_id: str) -> int:
        return owner.process.number

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cancels, "number_of", numbered)
        assert await sender.cancels.forward(owner.process.number, KEY, "192.0.2.1")
    assert owner.heard == same.heard == [(KEY, "192.0.2.1")]


async def test_keys_of_nobody_are_dropped_unasked(
    database: Database, processes: tuple[Process, Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, sender, _ = processes
    nobody = next(n for n in range(1024) if n not in {one.process.number for one in processes})
    asked = 0
    others = sender.process.others

    async def counting() -> object:
        nonlocal asked
        asked += 1
        return await others()

    monkeypatch.setattr(sender.process, "others", counting)
    for _ in range(100):
        assert not await sender.cancels.forward(nobody, KEY, "192.0.2.1")
    assert asked == 1
    assert await stored(database) == []


async def test_a_flood_costs_four_signals_a_second(
    database: Database, processes: tuple[Process, Process, Process]
) -> None:
    owner, sender, _ = processes
    guesses = [
        sender.cancels.forward(owner.process.number, KEY + number.to_bytes(4, "big"), f"192.0.2.{number % 100}")
        for number in range(5_000)
    ]
    async with asyncio.timeout(5):
        accepted = sum(await asyncio.gather(*guesses))
    assert accepted == cancels.MOST
    rows = await stored(database)
    assert len(rows) <= 2
    assert all(len(json.dumps(row)) < 20_000 for row in rows)


async def test_one_address_leaves_room_for_others(processes: tuple[Process, Process, Process]) -> None:
    owner, sender, _ = processes
    number = owner.process.number
    flood = [sender.cancels.forward(number, KEY + bytes([each]), "192.0.2.66") for each in range(200)]
    *guessed, real = await asyncio.gather(*flood, sender.cancels.forward(number, KEY, "192.0.2.1"))
    assert sum(guessed) == cancels.MOST_EACH
    assert real
    assert (KEY, "192.0.2.1") in owner.heard


async def test_prune_forgets_them_soon(database: Database, processes: tuple[Process, Process, Process]) -> None:
    owner, sender, _ = processes
    await sender.cancels.forward(owner.process.number, KEY, "192.0.2.1")
    assert await sender.signals.prune() == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("taskgate.store.signals._CANCELS_KEPT", -1.0)
        assert await sender.signals.prune() == 1
