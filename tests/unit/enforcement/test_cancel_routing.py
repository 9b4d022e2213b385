"""Cancel requests for sessions of other processes: named, bounded, heard. The store is a real one (SQLite)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from taskgate.enforcement.cancel_routing import EACH, MOST, CancelRouting
from taskgate.store.database import Database
from taskgate.store.signals import Signals

KEY = b"k" * 32


@pytest.fixture
async def signals(tmp_path: Path) -> AsyncIterator[Signals]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'store.db'}")
    await database.migrate()
    signals = Signals(database)
    polling = asyncio.create_task(signals.run())
    await signals.started()
    yield signals
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    await database.close()


async def heard(names: list[str], count: int) -> None:
    async with asyncio.timeout(5):
        while len(names) < count:
            await asyncio.sleep(0.01)


async def test_what_is_passed_on_is_heard_by_its_name(signals: Signals) -> None:
    names: list[str] = []
    routing = CancelRouting(signals, KEY, lambda: True)
    routing.listen(names.append)
    assert routing.pass_on(7, b"abcd", "10.0.0.1")
    await heard(names, 1)
    assert names == [CancelRouting(signals, KEY, lambda: True).name(7, b"abcd")]


def test_a_name_tells_nothing_and_is_one_keys() -> None:
    def name(process: int, secret: bytes, key: bytes = KEY) -> str:
        return CancelRouting(None, key, lambda: True).name(process, secret)  # type: ignore[arg-type]

    assert (
        len({name(7, b"abcd"), name(8, b"abcd"), name(7, b"abce"), name(7, b"abcd\0"), name(7, b"abcd", b"x" * 32)})
        == 5
    )
    assert name(-1, b"abcd")  # whatever 32 bits a client sends


async def test_alone_nobody_is_asked(signals: Signals) -> None:
    assert not CancelRouting(signals, KEY, lambda: False).pass_on(7, b"abcd", "10.0.0.1")


async def test_guesses_are_bounded(signals: Signals) -> None:
    names: list[str] = []
    routing = CancelRouting(signals, KEY, lambda: True)
    routing.listen(names.append)
    assert sum(routing.pass_on(process, b"abcd", "10.0.0.1") for process in range(1000)) == EACH
    assert routing.pass_on(7, b"abcd", "10.0.0.2"), "others are still heard"
    assert sum(routing.pass_on(7, b"abcd", f"10.0.1.{number}") for number in range(100)) == MOST - EACH - 1
    await heard(names, MOST)
    await asyncio.sleep(1.1)
    assert routing.pass_on(7, b"abcd", "10.0.0.1"), "later there is room again"
