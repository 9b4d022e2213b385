"""A cancel request may land at another process than its session's: a balancer in front of several sends it anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from taskgate.client import Client
from taskgate.demo.postgres_server import free_port
from taskgate.demo.stage import TARGET, Stage
from taskgate.protocols.postgres import startup
from taskgate.protocols.postgres.frontend import Query
from tests.servers.wire import Refusal, WireClient


@pytest.fixture
def beside(stage: Stage) -> Iterator[int]:
    """The PostgreSQL port of a second gateway process on the same store."""
    api, port = free_port(), free_port()
    log = stage.gateway.directory / "beside.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "taskgate.cli", "serve", "--config", str(stage.gateway.config)],
            env={**os.environ, "TASKGATE_API__PORT": str(api), "TASKGATE_POSTGRES__PORT": str(port)},
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                if httpx.get(f"http://127.0.0.1:{api}/readyz", timeout=2).status_code == httpx.codes.OK:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        time.sleep(4)  # until the first one has heard that it is not alone
        yield port
    finally:
        process.terminate()
        process.wait(15)


def cancel(port: int, process: int, secret: bytes) -> None:
    with WireClient(port) as client:
        client.send(startup.cancel_request(process, secret))
        assert client.closed()


@pytest.mark.timeout(180)
def test_cancel_through_another_process(stage: Stage, dana: Client, beside: int) -> None:
    credential = dana.issue_credential(TARGET)
    with (
        psycopg.connect(stage.postgres.dsn("shop"), autocommit=True) as admin,
        WireClient(stage.gateway.postgres_port) as here,
        WireClient(beside) as there,
    ):
        for client in (here, there):
            client.start(credential.user, credential.password.get_secret_value())
        for owner, other in ((here, beside), (there, stage.gateway.postgres_port)):
            admin.execute("begin; lock table public.orders in access exclusive mode")
            owner.send(Query(b"select count(*) from public.orders").encode())
            time.sleep(0.3)
            cancel(other, owner.key.process, bytes(4))
            cancel(other, owner.key.process + 1, owner.key.secret)
            time.sleep(0.7)
            waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = 'shop'"
            assert admin.execute(waiting).fetchone() == (1,), "a guess has cancelled it"
            started = time.monotonic()
            cancel(other, owner.key.process, owner.key.secret)
            answer = owner.until()
            assert time.monotonic() - started < 1.0
            assert Refusal.of(answer[0]).sqlstate == "57014"
            admin.execute("rollback")
