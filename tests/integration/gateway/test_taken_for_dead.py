"""A gateway that was thought to be dead, or whose store has forgotten things, ends what nobody can vouch for."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from sqlalchemy import delete, update

from taskgate.client import Client
from taskgate.demo.stage import TARGET, Stage
from taskgate.identity.credentials import Credentials
from taskgate.settings import Settings
from taskgate.store.clock import database_time
from taskgate.store.database import Database
from taskgate.store.signals import Signals
from taskgate.store.tables import processes, sessions, signal_counter, signals
from tests.integration.gateway.test_credentials_end_sessions import connect, kill, seconds_until_closed


def at_the_store(stage: Stage, act: Callable[[Database], Awaitable[None]]) -> None:
    async def main() -> None:
        database = Database(Settings.load(stage.gateway.config).store_url)
        await act(database)
        await database.close()

    asyncio.run(main())


async def _forget_the_process(database: Database) -> None:
    async with database.statement(writes=True) as connection:
        await connection.execute(delete(processes))


async def _take_it_for_dead(database: Database) -> None:
    async with database.statement(writes=True) as connection:
        await connection.execute(update(processes).values(heartbeat_at=database_time(-60)))


async def _set_back(database: Database) -> None:
    for number in range(3):
        await Signals(database).send("test", f"{number}")
    await asyncio.sleep(1)
    async with database.transaction() as connection:
        await connection.execute(update(signal_counter).values(value=signal_counter.c.value - 2))
        last = signal_counter.select().with_only_columns(signal_counter.c.value).scalar_subquery()
        await connection.execute(delete(signals).where(signals.c.sequence > last))


@pytest.mark.parametrize(
    ("happens", "within"), [(_forget_the_process, 4.5), (_take_it_for_dead, 4.5), (_set_back, 1.0)]
)
def test_its_sessions_end_and_new_ones_are_let_in(
    stage: Stage, dana: Client, happens: Callable[[Database], Awaitable[None]], within: float
) -> None:
    credential = dana.issue_credential(TARGET)
    with connect(credential) as connection:
        connection.execute("select 1")
        at_the_store(stage, happens)
        assert seconds_until_closed(connection, within=8) <= within
    with connect(credential) as connection:
        connection.execute("select 1")
        time.sleep(4)
        connection.execute("select 1")
        dana.revoke_credential(credential.id, "test")
        assert seconds_until_closed(connection) <= 1.0


def test_a_session_that_only_the_index_calls_closed_can_be_killed(stage: Stage, dana: Client) -> None:
    credential = dana.issue_credential(TARGET)

    async def closed_by_others(database: Database) -> None:
        async with database.statement(writes=True) as connection:
            died = {"closed_at": database_time(), "closed_reason": "the gateway process died"}
            await connection.execute(update(sessions).where(sessions.c.credential_id == credential.id).values(died))

    with connect(credential) as connection:
        (live,) = [one for one in dana.live_sessions() if one.principal.name == "dana"]
        at_the_store(stage, closed_by_others)
        kill(stage, live.id)
        assert seconds_until_closed(connection) <= 1.0


@pytest.mark.timeout(120)
def test_after_standing_still_nothing_runs_before_what_was_revoked_is_known(stage: Stage, dana: Client) -> None:
    """The statement waits in the socket while the process stands still: it is there before the next poll."""
    for _ in range(3):
        credential = dana.issue_credential(TARGET)
        with connect(credential) as connection:
            connection.execute("select 1")
            answered: list[object] = []

            def ask(connection: psycopg.Connection = connection, answered: list[object] = answered) -> None:
                try:
                    answered.append(connection.execute("select 1").fetchone())
                except psycopg.Error as error:
                    answered.append(error)

            asking = threading.Thread(target=ask)
            os.kill(stage.gateway.pid, signal.SIGSTOP)
            try:

                async def revoke(database: Database, credential_id: str = credential.id) -> None:
                    await Credentials(database, Signals(database)).revoke(credential_id, "test", "test")

                at_the_store(stage, revoke)
                asking.start()
                time.sleep(6)
            finally:
                os.kill(stage.gateway.pid, signal.SIGCONT)
            asking.join(10)
            assert isinstance(answered[0], psycopg.OperationalError), answered
