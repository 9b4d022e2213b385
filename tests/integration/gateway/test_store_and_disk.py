"""Without its store or without room for the journal the gateway lets nothing new through, and recovers by itself."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer, embedded_bin
from taskgate.demo.stage import TARGET, Stage
from tests.servers.folders import server_folder


def eventually(check: object, within: float) -> float:
    """Seconds until `check()` holds; fails after `within`."""
    assert callable(check)
    started = time.monotonic()
    while not check():
        assert time.monotonic() - started < within, f"not within {within} s"
        time.sleep(0.05)
    return time.monotonic() - started


def ended(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("select 1")
    except psycopg.OperationalError:
        return True
    return False


@pytest.fixture
def store_server() -> Iterator[PostgresServer]:
    with server_folder("store") as folder, PostgresServer(embedded_bin(), folder) as server:
        yield server


@pytest.mark.timeout(180)
def test_store_out_of_reach(store_server: PostgresServer) -> None:
    """The store on PostgreSQL: nobody new at once, live sessions end after five seconds, and it recovers by itself."""
    settings = {"store": {"url": store_server.dsn().replace("postgresql://", "postgresql+asyncpg://")}}
    with server_folder("stage") as directory, Stage(directory, dashboard=False, settings=settings) as stage:
        with stage.client("dana") as dana:
            dsn = dana.issue_credential(TARGET).dsn.get_secret_value()
        with psycopg.connect(dsn, autocommit=True) as connection:
            assert connection.execute("select count(*) from public.orders where id = 1").fetchone() == (1,)
            store_server.stop()
            time.sleep(1.2)
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(dsn, connect_timeout=8)
            assert eventually(lambda: ended(connection), within=8) <= 7
        store_server.start()

        def connects() -> bool:
            try:
                psycopg.connect(dsn, connect_timeout=5).close()
            except psycopg.OperationalError:
                return False
            return True

        eventually(connects, within=15)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 24 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "taskgate-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.timeout(180)
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system wants root; the journal's own tests do not")
def test_disk_full(small_disk: Path) -> None:
    settings = {"data_dir": str(small_disk / "data")}
    with server_folder("stage") as directory, Stage(directory, dashboard=False, settings=settings) as stage:
        with stage.client("dana") as dana:
            dsn = dana.issue_credential(TARGET).dsn.get_secret_value()
        with psycopg.connect(dsn, autocommit=True) as connection:
            assert connection.execute("select count(*) from public.orders where id = 1").fetchone() == (1,)
            ballast = small_disk / "ballast"
            _fill(ballast)
            refused = 0
            for number in range(400):
                try:
                    connection.execute(f"select count(*) from public.orders where id = 2 /* full-{number} */")
                except psycopg.Error:
                    refused += 1
                    break
            assert refused, "actions went on although nothing can be recorded"
            reached = stage.postgres.log_file.read_text().count(f"full-{number} ")
            assert reached == 0, "what was refused has reached the target"
        ballast.unlink()

        def works() -> bool:
            try:
                with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as again:
                    again.execute("select count(*) from public.orders where id = 3")
            except psycopg.Error:
                return False
            return True

        eventually(works, within=15)


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as ballast:
        block = b"\0" * 65536
        while block:
            try:
                ballast.write(block)
            except OSError:
                block = block[: len(block) // 2]
