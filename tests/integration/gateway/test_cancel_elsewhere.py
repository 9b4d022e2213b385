"""A cancel request may land at another process than its session's: a balancer in front of several sends it anywhere."""

from __future__ import annotations

import time

import psycopg
import pytest

from taskgate.client import Client
from taskgate.demo.stage import TARGET, Stage
from taskgate.protocols.postgres import startup
from taskgate.protocols.postgres.frontend import Query
from tests.servers.beside import gateway_beside
from tests.servers.wire import Refusal, WireClient


def cancel(port: int, process: int, secret: bytes) -> None:
    with WireClient(port) as client:
        client.send(startup.cancel_request(process, secret))
        assert client.closed()


@pytest.mark.timeout(180)
def test_cancel_through_another_process(stage: Stage, dana: Client) -> None:
    credential = dana.issue_credential(TARGET)
    with (
        gateway_beside(stage.gateway) as beside,
        psycopg.connect(stage.postgres.dsn("shop"), autocommit=True) as admin,
        WireClient(stage.gateway.postgres_port) as here,
        WireClient(beside.postgres_port) as there,
    ):
        for client in (here, there):
            client.start(credential.user, credential.password.get_secret_value())
        for owner, other in ((here, beside.postgres_port), (there, stage.gateway.postgres_port)):
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
