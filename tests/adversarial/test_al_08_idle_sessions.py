"""AL-08: many sessions that do nothing cost next to nothing, slow readers among them stop nobody, and a client that
vanishes without a word does not keep its place for ever. Everything is real: gateway, PostgreSQL, clients."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from taskgate.demo.stage import TARGET, Stage
from tests.adversarial.test_al_08_resources import pinging, resident
from tests.servers.folders import server_folder

MIB = 1 << 20
SESSION_MEMORY = 0.35 * MIB
READERS = 4
_TCP_REPAIR = 19  # Linux: a socket in repair is closed without a packet


@contextmanager
def roomy_stage(sessions: int) -> Iterator[Stage]:
    """One whose PostgreSQL and whose target's cap have room for so many."""
    with server_folder("stage") as directory, Stage(directory, dashboard=False, max_sessions=sessions + 20) as stage:
        yield stage


def issue(stage: Stage) -> str:
    with stage.client("dana") as dana:
        return dana.issue_credential(TARGET, ttl=3600.0).dsn.get_secret_value()


def cpu_seconds(stage: Stage) -> float:
    with open(f"/proc/{stage.gateway.pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def at_rest(stage: Stage, share: float, within: float = 40.0) -> bool:
    """Whether some four seconds of the next `within` cost the gateway less than `share` of a core: what the readers
    left behind is put away first, and a busy machine counts some of its own work as ours."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        before, started = cpu_seconds(stage), time.monotonic()
        time.sleep(4)
        if (cpu_seconds(stage) - before) / (time.monotonic() - started) < share:
            return True
    return False


def live(stage: Stage) -> int:
    with stage.client("rae") as rae:
        return len(rae.live_sessions())


def check_idle_sessions(sessions: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * sessions + 500)), hard))
    with roomy_stage(sessions) as stage, ExitStack() as stack:
        dsn = issue(stage)

        def connect(_: int) -> psycopg.Connection:
            connection = psycopg.connect(dsn, autocommit=True, connect_timeout=60)
            connection.execute("select id from public.orders limit 1")
            return connection

        with pinging(dsn) as pings:
            time.sleep(1)
            usual = pings.worst()
            memory = resident(stage)
            with ThreadPoolExecutor(8) as threads:
                connections = list(threads.map(connect, range(sessions)))
            for connection in connections:
                stack.callback(connection.close)
            assert live(stage) == sessions + 1
            assert (resident(stage) - memory) / sessions < SESSION_MEMORY
            pings.worst()
            time.sleep(2)
            crowding = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
            bound = 0.05 * crowding + 4 * usual
            assert pings.worst() < bound, "who works beside them does not feel them"
            for connection in connections[:READERS]:
                connection.pgconn.send_query(b"select repeat('x', 1000) from generate_series(1, 200000)")
            pings.worst()
            time.sleep(2)
            assert resident(stage) - memory < sessions * SESSION_MEMORY + 64 * MIB
            assert pings.worst() < max(1.0, bound), "nor those among them that read nothing of what they asked for"
        for connection in connections[:READERS]:
            connection.close()
        assert at_rest(stage, 0.05 + sessions * 0.0002), "idle is idle"
        with ThreadPoolExecutor(8) as threads:  # and all of them are still there
            answers = list(threads.map(lambda one: one.execute("select 1").fetchone(), connections[READERS:]))
        assert answers == [(1,)] * (sessions - READERS)


@pytest.mark.timeout(180)
def test_al_08_a_hundred_idle_sessions_are_cheap() -> None:
    check_idle_sessions(100)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_al_08_five_hundred_idle_sessions_are_cheap() -> None:
    check_idle_sessions(500)


@pytest.mark.long
@pytest.mark.timeout(240)
def test_al_08_clients_that_vanish_without_a_word_give_their_place_back() -> None:
    """As when a worker's host loses its power: no FIN, no RST. The kernel's probes find out, in a minute or two. Needs
    CAP_NET_ADMIN (root), without which a socket cannot be closed in silence."""
    with roomy_stage(20) as stage:
        dsn = issue(stage)
        connections = [psycopg.connect(dsn, autocommit=True) for _ in range(10)]
        assert live(stage) == 10
        time.sleep(0.5)  # till all they were sent is acknowledged: what is not is sent again, and answered with a reset
        for connection in connections[:9]:
            with socket.socket(fileno=os.dup(connection.fileno())) as silent:
                silent.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
            connection.close()  # what it has to say stays in the socket
        time.sleep(2)
        assert live(stage) == 10, "nothing was said"
        deadline = time.monotonic() + 150
        while live(stage) > 1:
            assert time.monotonic() < deadline, "their places are still taken"
            time.sleep(2)
        assert connections[9].execute("select 1").fetchone() == (1,), "who is there stays"
        connections[9].close()
