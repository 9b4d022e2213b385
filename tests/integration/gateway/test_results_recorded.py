"""`record: results` with a disk slower than the target: the target is slowed down, nobody else is, nothing is lost."""

from __future__ import annotations

import asyncio
import base64
import errno
import statistics
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from taskgate.demo.local_gateway import LocalGateway
from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import Assurance, Principal, PrincipalKind
from taskgate.gateway import Gateway
from taskgate.protocols.postgres.backend import decode_data_row
from taskgate.recording.recorder import HIGH_WATER
from taskgate.recording.records import RecordKind
from taskgate.settings import Settings
from tests.unit.recording.faulty_disk import FaultyDisk

ROWS, WIDTH = 40_000, 1_000
POLICY = """\
version: 1
rules:
  - id: bulk-is-recorded
    match: {targets: [orders-db], principals: {kind: user}, effects: [sql.select, sql.copy_out], objects: [public.bulk]}
    record: results
    verdict: allow
"""
_CHUNK = 2 * 1024**2  # what one session may have read, in base64, when the mark is passed


@pytest.fixture(scope="module")
def target(postgres18: PostgresServer) -> PostgresServer:
    with psycopg.connect(postgres18.dsn(), autocommit=True) as admin:
        admin.execute("drop table if exists public.bulk")
        admin.execute(
            f"create table public.bulk as select g as id, repeat('x', {WIDTH}) as payload"
            f" from generate_series(1, {ROWS}) g"
        )
    return postgres18


@asynccontextmanager
async def running(folder: Path, target: PostgresServer, disk: FaultyDisk) -> AsyncIterator[Gateway]:
    """The gateway in this very process: a slow disk is put into its journal."""
    written = LocalGateway(
        folder,
        targets=[
            {
                "name": "orders-db", "host": "127.0.0.1", "port": target.port, "database": "postgres",
                "user": "postgres", "tls": "disable",
            }
        ],
        secrets={"orders-db": target.password},
        policy=POLICY,
        settings={"postgres": {"port": 0, "max_message": "1 MiB"}, "api": {"port": 0}},
    )  # fmt: skip
    gateway = Gateway(Settings.load(written.config), disk=disk)
    try:
        await gateway.start()
        yield gateway
    finally:
        disk.__init__()  # type: ignore[misc]
        await gateway.stop()


async def dsn(gateway: Gateway) -> str:
    principal = Principal(PrincipalKind.USER, "dana", "test", Assurance.VERIFIED, "test")
    credential, secret = await gateway.credentials.issue(principal, "orders-db", 600.0, "test")
    host, port = gateway.endpoints["postgres"]
    return f"postgresql://{credential.id}:{secret}@{host}:{port}/orders-db"


def fetch(where: str) -> tuple[int, int]:
    """How many rows came, and the sum of their ids."""
    with psycopg.connect(where, autocommit=True) as connection, connection.cursor(binary=True) as cursor:
        cursor.execute("select id, payload from public.bulk")
        result = cursor.pgresult
        assert result is not None
        ids = [int.from_bytes(result.get_value(row, 0) or b"", "big") for row in range(result.ntuples)]
        return len(ids), sum(ids)


async def answer_times(where: str, until: asyncio.Event) -> list[float]:
    """Of a session that records no rows, beside the others."""
    times = []
    async with await psycopg.AsyncConnection.connect(where, autocommit=True) as connection:
        while not until.is_set():
            started = time.monotonic()
            await connection.execute("select 1")
            times.append(time.monotonic() - started)
            await asyncio.sleep(0.01)
    return times


async def largest_backlog(gateway: Gateway, until: asyncio.Event) -> int:
    largest = 0
    while not until.is_set():
        largest = max(largest, gateway.recorder.backlog)
        await asyncio.sleep(0.002)
    return largest


def recorded_ids(gateway: Gateway, session_id: str) -> list[int]:
    rows: list[int] = []
    for record in gateway.recordings.read(session_id):
        if record.kind == RecordKind.ROWS:
            data = base64.b64decode((record.content or {})["base64"])
            at = 0
            while at < len(data):
                end = at + 1 + int.from_bytes(data[at + 1 : at + 5], "big")
                rows.append(int.from_bytes(decode_data_row(data, at, end)[0] or b"", "big"))
                at = end
    return rows


@pytest.mark.timeout(120)
@pytest.mark.parametrize("sessions", [1, 3])
async def test_a_disk_slower_than_the_target(tmp_path: Path, target: PostgresServer, sessions: int) -> None:
    disk = FaultyDisk()
    async with running(tmp_path, target, disk) as gateway:
        where = await dsn(gateway)
        over = asyncio.Event()
        watching = asyncio.create_task(largest_backlog(gateway, over))
        beside = asyncio.create_task(answer_times(where, over))
        while not gateway.live.list():  # the one beside
            await asyncio.sleep(0.02)
        others = {session.id for session in gateway.live.list()}
        disk.sync_seconds = 0.1
        started = time.monotonic()
        fetches = [asyncio.create_task(asyncio.to_thread(fetch, where)) for _ in range(sessions)]
        bulk: set[str] = set()
        while len(bulk) < sessions:
            await asyncio.sleep(0.02)
            bulk = {session.id for session in gateway.live.list()} - others
        assert await asyncio.gather(*fetches) == [(ROWS, ROWS * (ROWS + 1) // 2)] * sessions
        took = time.monotonic() - started
        over.set()
        disk.sync_seconds = 0.0
        assert took > sessions * ROWS * WIDTH * 4 / 3 / (HIGH_WATER + sessions * _CHUNK) * 0.1 * 0.8
        assert await watching < HIGH_WATER + sessions * _CHUNK
        answers = await beside
        assert statistics.median(answers) < 0.05
        assert max(answers) < 1.0
        await gateway.recorder.checkpoint()
        for session_id in bulk:
            # Sorted: the target lets scans that run side by side share their way through the table.
            assert sorted(recorded_ids(gateway, session_id)) == list(range(1, ROWS + 1))


@pytest.mark.timeout(120)
async def test_a_disk_that_refuses_in_the_middle(tmp_path: Path, target: PostgresServer) -> None:
    disk = FaultyDisk()
    async with running(tmp_path, target, disk) as gateway:
        where = await dsn(gateway)
        disk.sync_seconds = 0.2
        fetching = asyncio.create_task(asyncio.to_thread(fetch, where))
        await asyncio.sleep(0.5)
        assert not fetching.done()
        disk.sync_error = errno.EIO
        with pytest.raises(psycopg.OperationalError, match="the journal cannot be synced to disk") as caught:
            await fetching
        assert caught.value.diag.sqlstate in ("58030", None)
        disk.sync_error = None
        disk.sync_seconds = 0.0
        async with asyncio.timeout(10):
            while not gateway.recorder.healthy:
                await asyncio.sleep(0.05)
        assert (await asyncio.to_thread(fetch, where))[0] == ROWS


@pytest.mark.timeout(120)
async def test_a_session_that_waits_for_the_disk_can_be_killed(tmp_path: Path, target: PostgresServer) -> None:
    disk = FaultyDisk()
    async with running(tmp_path, target, disk) as gateway:
        where = await dsn(gateway)
        disk.gate = standing_still = threading.Event()
        fetching = asyncio.create_task(asyncio.to_thread(fetch, where))
        try:
            while not gateway.recorder.behind:
                await asyncio.sleep(0.01)
            (session,) = gateway.live.list()
            started = time.monotonic()
            await gateway.live.kill(session.id, "dana", "test")
            with pytest.raises(psycopg.OperationalError, match="killed by dana"):
                await fetching
            assert time.monotonic() - started < 1.5
        finally:
            standing_still.set()
