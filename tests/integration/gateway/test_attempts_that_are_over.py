"""What an attempt held after it is over: its callbacks read a while longer, live sessions included."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psycopg
import pytest

from taskgate.client import Client, TaskClaim
from taskgate.client.models import IssuedCredential
from taskgate.demo.stage import SOURCE, TARGET, Stage


@pytest.fixture
def credential(airflow: Client) -> IssuedCredential:
    claim = TaskClaim(source=SOURCE, dag_id="tests", run_id="over", task_id="t", attempt_id=os.urandom(8).hex())
    return airflow.issue_credential(TARGET, principal=claim)


def connect(credential: IssuedCredential) -> psycopg.Connection:
    return psycopg.connect(credential.dsn.get_secret_value(), autocommit=True)


def is_over(stage: Stage, credential: IssuedCredential, seconds: float) -> float:
    """As another gateway process on the same store finds out. Returns the time at which it ends."""
    assert credential.principal.attempt is not None
    environment = os.environ | {"TASKGATE_CONFIG": str(stage.gateway.config)}
    attempt = credential.principal.attempt.id
    command = [sys.executable, "-c", CONFINE, str(stage.gateway.config), attempt, str(seconds), credential.id]
    done = subprocess.run(command, env=environment, check=True, timeout=60, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


CONFINE = """
import asyncio, sys
from taskgate.identity.credentials import Credentials
from taskgate.settings import Settings
from taskgate.store.database import Database
from taskgate.store.signals import Signals

async def main():
    database = Database(Settings.load(sys.argv[1]).store_url)
    credentials = Credentials(database, Signals(database))
    assert await credentials.end_attempt(sys.argv[2], "it ended", float(sys.argv[3])) == (False, 1)
    print((await credentials.get(sys.argv[4])).confined_until.timestamp())
    await database.close()

asyncio.run(main())
"""


def test_a_live_session_only_reads_from_then_on_and_ends_in_time(
    stage: Stage, dana: Client, credential: IssuedCredential
) -> None:
    with connect(credential) as connection:
        read = "SELECT count(*) FROM public.orders"
        connection.execute(read)
        ends = is_over(stage, credential, 6)
        time.sleep(0.5)
        connection.execute(read)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="its callbacks may only read"):
            connection.execute("DELETE FROM public.orders WHERE id = 1")
        connection.execute(read)  # the session goes on
        with pytest.raises(psycopg.OperationalError):
            while time.time() < ends + 1.5:
                connection.execute("SELECT 1")
                time.sleep(0.05)
        assert abs(time.time() - ends) < 1.2
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(credential)


def test_a_new_session_is_read_only_on_the_target_too(stage: Stage, credential: IssuedCredential) -> None:
    is_over(stage, credential, 30)
    with connect(credential) as connection:
        assert connection.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
        connection.execute("SELECT count(*) FROM public.orders")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM public.orders WHERE id = 1")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("BEGIN READ WRITE")


def test_nobody_is_asked_any_more_and_who_is_being_asked_for_gets_no_grant(
    stage: Stage, dana: Client, credential: IssuedCredential
) -> None:
    """A statement that waits for a human when the attempt ends does not run, whatever the human says."""
    import threading

    caught: list[BaseException] = []
    with connect(credential) as connection:

        def wait() -> None:
            try:
                connection.execute("DELETE FROM public.orders WHERE id = 2")
            except psycopg.Error as error:
                caught.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        deadline = time.monotonic() + 10
        while not (pending := list(dana.approvals(state=["pending"]))):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        is_over(stage, credential, 30)
        time.sleep(0.5)
        dana.approve(pending[0].id)
        thread.join(10)
    assert not thread.is_alive()
    assert isinstance(caught[0], psycopg.errors.InsufficientPrivilege)
    with psycopg.connect(stage.postgres.dsn("shop")) as admin:
        assert admin.execute("SELECT count(*) FROM orders WHERE id = 2").fetchone() == (1,)
