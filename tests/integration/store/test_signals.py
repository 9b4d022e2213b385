from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import delete, insert, update

from taskgate.errors import StoreFault
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.signals import Signal, SignalKind, Signals
from taskgate.store.tables import signal_counter
from taskgate.store.tables import signals as signals_table


@asynccontextmanager
async def running(signals: Signals) -> AsyncIterator[Signals]:
    task = asyncio.create_task(signals.run())
    await signals.started()
    try:
        yield signals
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 5) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "did not happen in time"
        await asyncio.sleep(0.005)
    return time.monotonic() - started


async def test_other_process_hears_within_300_ms(database: Database, store_url: str) -> None:
    other = Database(store_url)
    heard: list[Signal] = []
    listener = Signals(other)
    listener.subscribe(SignalKind.SESSION_KILL, heard.append)
    async with running(listener):
        await Signals(database).send(SignalKind.SESSION_KILL, "ses_1", {"by": "alice", "reason": "test"})
        took = await until(lambda: bool(heard))
    assert took <= 0.35
    assert (heard[0].kind, heard[0].subject, heard[0].payload["by"]) == ("session.kill", "ses_1", "alice")
    await other.close()


async def test_own_signal_is_heard_without_waiting_for_the_interval(database: Database) -> None:
    signals = Signals(database, interval=30)
    heard: list[Signal] = []
    signals.subscribe("policy.reloaded", heard.append)
    async with running(signals):
        await signals.send("policy.reloaded", "v2")
        await until(lambda: bool(heard), seconds=2)


async def test_every_signal_is_heard_once_and_in_order_whatever_the_senders_do(
    database: Database, store_url: str
) -> None:
    """Senders hold their transactions open for different times and some roll back: nothing is skipped."""
    others = [Database(store_url) for _ in range(3)]
    heard: list[Signal] = []
    listener = Signals(database, interval=0.01)
    listener.subscribe("test", heard.append)

    async def send(number: int) -> None:
        sender = Signals(others[number % 3])
        async with others[number % 3].transaction() as connection:
            await sender.append(connection, "test", str(number))
            await asyncio.sleep(0.002 * (number % 5))
            if number % 7 == 0:
                await connection.rollback()

    async with running(listener):
        await asyncio.gather(*(send(number) for number in range(60)))
        expected = {str(number) for number in range(60) if number % 7}
        await until(lambda: {signal.subject for signal in heard} == expected)
    assert len(heard) == len(expected)
    sequences = [signal.sequence for signal in heard]
    assert sequences == list(range(sequences[0], sequences[0] + len(expected)))
    for other in others:
        await other.close()


async def test_what_was_sent_while_the_store_was_away_is_heard_afterwards(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Signal] = []
    signals = Signals(database, interval=0.02)
    signals.subscribe("test", heard.append)
    async with running(signals):
        real = database.statement

        def away(**_: bool) -> object:
            raise StoreFault("The store is out of reach.")

        monkeypatch.setattr(database, "statement", away)
        await asyncio.sleep(0.1)
        before = signals.last_contact
        await Signals(database).send("test", "missed?")
        await asyncio.sleep(0.1)
        assert heard == []
        assert signals.last_contact == before
        monkeypatch.setattr(database, "statement", real)
        await until(lambda: bool(heard))
        assert signals.last_contact > before


async def test_contact_is_lost_when_polls_fail(database: Database) -> None:
    signals = Signals(database, interval=0.02)
    assert not signals.in_contact
    async with running(signals):
        await until(lambda: signals.in_contact)
    signals.last_contact -= 1.5
    assert not signals.in_contact


async def test_callback_that_raises_silences_nobody(database: Database) -> None:
    heard: list[Signal] = []

    def broken(signal: Signal) -> None:
        raise RuntimeError("broken subscriber")

    signals = Signals(database, interval=0.02)
    signals.subscribe("test", broken)
    signals.subscribe("test", heard.append)
    async with running(signals):
        await signals.send("test", "1")
        await signals.send("test", "2")
        await until(lambda: len(heard) == 2)


async def test_unsubscribed_callback_hears_nothing(database: Database) -> None:
    heard: list[Signal] = []
    kept: list[Signal] = []
    signals = Signals(database, interval=0.02)
    unsubscribe = signals.subscribe("test", heard.append)
    signals.subscribe("test", kept.append)
    unsubscribe()
    unsubscribe()
    async with running(signals):
        await signals.send("test", "1")
        await until(lambda: bool(kept))
    assert heard == []


async def test_old_signals_are_pruned_and_numbers_go_on(database: Database) -> None:
    signals = Signals(database)
    await signals.send("test", "old")
    async with database.statement(writes=True) as connection:
        await connection.execute(update(signals_table).values(sent_at=database_time(-3601)))
    await signals.send("test", "new")
    assert await signals.prune() == 1
    assert await signals.backlog() == 1
    heard: list[Signal] = []
    signals.subscribe("test", heard.append)
    async with running(signals):
        await signals.send("test", "after")
        await until(lambda: bool(heard))
    assert heard[0].sequence == 3


async def test_whoever_waits_to_have_caught_up_has_heard_all_that_was_sent_before(database: Database) -> None:
    signals = Signals(database, interval=30)
    heard: list[str] = []
    signals.subscribe(SignalKind.SESSION_KILL, lambda signal: heard.append(signal.subject))
    assert await signals.caught_up(0.05) is False  # nobody polls yet
    running = asyncio.create_task(signals.run())
    try:
        await signals.started()
        for number in range(20):
            await signals.send(SignalKind.SESSION_KILL, f"ses_{number}")
            assert await signals.caught_up() is True
            assert heard[-1] == f"ses_{number}"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _set_back(database: Database, to: int) -> None:
    """As a backup does that is brought in while this process is running."""
    async with database.transaction() as connection:
        await connection.execute(update(signal_counter).values(value=to))
        await connection.execute(delete(signals_table).where(signals_table.c.sequence > to))


async def test_a_store_that_was_set_back_is_noticed_and_what_is_sent_then_is_heard(database: Database) -> None:
    signals = Signals(database, interval=0.02)
    heard: list[str] = []
    found: list[int] = []
    signals.subscribe("test", lambda signal: heard.append(signal.subject))
    signals.when_set_back(lambda: found.append(signals.seen))
    async with running(signals):
        for number in range(4):
            await signals.send("test", f"{number}")
        await until(lambda: len(heard) == 4)
        await asyncio.sleep(0.1)
        assert found == []
        await _set_back(database, to=1)
        await until(lambda: bool(found))
        assert found == [1]
        await signals.send("test", "afterwards")
        await until(lambda: heard[-1] == "afterwards")
        assert found == [1]


async def test_it_is_noticed_although_the_numbers_have_caught_up(database: Database) -> None:
    signals = Signals(database, interval=30)
    found: list[int] = []
    signals.when_set_back(lambda: found.append(signals.seen))
    async with running(signals):
        for number in range(3):
            await signals.send("test", f"{number}")
        assert await signals.caught_up()
        assert await signals.caught_up()  # whoever sees the last one again does not take it for another
        assert found == []
        await _set_back(database, to=1)
        elsewhere = Signals(database)
        for number in range(4):
            await elsewhere.send("test", f"again {number}")
        assert await signals.caught_up()
        assert found == [5]


async def test_a_store_without_its_counter_is_out_of_reach_until_it_has_one_again(database: Database) -> None:
    """As while a backup is brought in: tables first, then their rows."""
    signals = Signals(database, interval=0.02)
    heard: list[str] = []
    found: list[int] = []
    signals.subscribe("test", lambda signal: heard.append(signal.subject))
    signals.when_set_back(lambda: found.append(signals.seen))
    async with running(signals):
        await signals.send("test", "before")
        await until(lambda: heard == ["before"])
        async with database.transaction() as connection:
            await connection.execute(delete(signals_table))
            await connection.execute(delete(signal_counter))
        await until(lambda: not signals.in_contact)
        async with database.transaction() as connection:
            await connection.execute(insert(signal_counter).values(id=1, value=0))
        await until(lambda: bool(found) and signals.in_contact)
        await signals.send("test", "after")
        await until(lambda: heard[-1] == "after")


async def test_more_signals_than_one_look_takes_are_all_heard(database: Database) -> None:
    signals = Signals(database, interval=30)
    heard: list[int] = []
    signals.subscribe("test", lambda signal: heard.append(signal.sequence))
    async with running(signals):
        async with database.transaction() as connection:
            for _ in range(2100):
                await signals.append(connection, "test", "many")
        assert await signals.caught_up(10)
    assert heard == list(range(1, 2101))
