"""A credential's end is its sessions' end, within a second, whoever ends it from wherever."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import psycopg
import pytest

from taskgate.client import Client
from taskgate.client.models import IssuedCredential
from taskgate.demo.stage import TARGET, Stage
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope


def connect(credential: IssuedCredential) -> psycopg.Connection:
    return psycopg.connect(credential.dsn.get_secret_value(), autocommit=True)


def seconds_until_closed(connection: psycopg.Connection, within: float = 3.0) -> float:
    """How long the connection still answers."""
    started = time.monotonic()
    while time.monotonic() - started < within:
        try:
            connection.execute("select 1")
        except psycopg.OperationalError:
            return time.monotonic() - started
        time.sleep(0.02)
    pytest.fail(f"the session still answers after {within} s")


def test_revocation_through_the_api(dana: Client) -> None:
    credential = dana.issue_credential(TARGET)
    with connect(credential) as connection:
        dana.revoke_credential(credential.id, "no longer needed")
        assert seconds_until_closed(connection) <= 1.0
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(credential)


def test_revocation_from_another_process_on_the_same_store(stage: Stage, dana: Client) -> None:
    credential = dana.issue_credential(TARGET)
    with connect(credential) as connection:
        environment = os.environ | {"TASKGATE_CONFIG": str(stage.gateway.config)}
        command = [sys.executable, "-c", REVOKE, str(stage.gateway.config), credential.id]
        revoking = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert revoking.stdout is not None
        assert revoking.stdout.readline() == "revoked\n"
        assert seconds_until_closed(connection) <= 1.0
        assert revoking.wait(10) == 0


# Straight at the store, as `taskgate credential revoke --config` in another process does; says when it is done.
REVOKE = """
import asyncio, sys
from taskgate.identity.credentials import Credentials
from taskgate.settings import Settings
from taskgate.store.database import Database
from taskgate.store.signals import Signals

async def main():
    database = Database(Settings.load(sys.argv[1]).store_url)
    await Credentials(database, Signals(database)).revoke(sys.argv[2], "test", "test")
    print("revoked", flush=True)
    await database.close()

asyncio.run(main())
"""


def test_expiry(dana: Client) -> None:
    credential = dana.issue_credential(TARGET, ttl=10)
    with connect(credential) as connection:
        issued = time.monotonic()
        seconds_until_closed(connection, within=12)
        assert 8.5 <= time.monotonic() - issued <= 11.5


def test_kill_in_the_middle_of_a_statement(stage: Stage, dana: Client) -> None:
    """A statement that is running is cancelled on the target as well."""
    credential = dana.issue_credential(TARGET)
    with connect(credential) as connection, psycopg.connect(stage.postgres.dsn("shop"), autocommit=True) as admin:
        (live,) = [one for one in dana.live_sessions() if one.principal.name == "dana"]
        admin.execute("begin; lock table public.orders in access exclusive mode")
        try:
            failure: list[BaseException] = []

            def wait_for_lock() -> None:
                try:
                    connection.execute("select count(*) from public.orders")
                except psycopg.Error as error:
                    failure.append(error)

            thread = threading.Thread(target=wait_for_lock)
            thread.start()
            time.sleep(0.3)
            started = time.monotonic()
            kill(stage, live.id)
            thread.join(3)
            assert not thread.is_alive()
            assert time.monotonic() - started <= 1.0
            assert isinstance(failure[0], psycopg.OperationalError)
            waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = 'shop'"
            deadline = time.monotonic() + 2
            while admin.execute(waiting).fetchone() != (0,):
                assert time.monotonic() < deadline, "the target still runs the statement"
                time.sleep(0.05)
        finally:
            admin.execute("rollback")


def kill(stage: Stage, session_id: str) -> None:
    key = stage.gateway.api_key(PrincipalKind.SERVICE, "operations", [Scope.SESSIONS_KILL])
    with Client(stage.gateway.url, key) as operations:
        operations.kill_session(session_id, "test")
