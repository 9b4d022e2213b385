"""AL-11: versions that change under open sessions: a store of another schema, a migration that is killed, processes
that come and go on one store."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from taskgate.client import Client
from taskgate.demo.postgres_server import PostgresServer, embedded_bin
from taskgate.demo.stage import TARGET, Stage
from taskgate.errors import StoreFault
from taskgate.store.database import Database
from tests.servers.beside import gateway_beside
from tests.servers.folders import server_folder


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with server_folder("upgrade") as folder, PostgresServer(embedded_bin(), folder) as running:
        yield running


@pytest.fixture
def store_url(server: PostgresServer) -> str:
    """An empty PostgreSQL database to be a store."""
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute("drop database if exists store with (force)")
        admin.execute("create database store")
    return server.dsn("store").replace("postgresql://", "postgresql+asyncpg://")


def command(url: str, folder: Path, *words: str) -> subprocess.Popen[str]:
    """`taskgate …` on this store."""
    config = folder / "taskgate.yaml"
    policy = folder / "policy.yaml"
    policy.write_text("version: 1\nrules: []\n")
    (folder / "secret").write_text("unused")
    (folder / "secret").chmod(0o600)
    config.write_text(
        f"data_dir: {folder / 'data'}\nstore: {{url: '{url}'}}\npolicy: [{policy}]\n"
        "targets: [{name: t, host: 127.0.0.1, port: 1, database: d, user: u, tls: disable, secret: 'file:secret'}]\n"
    )
    return subprocess.Popen(
        [sys.executable, "-m", "taskgate.cli", *words, "--config", str(config)],
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


async def schema(url: str) -> str:
    """`whole`, `none`, or what is wrong."""
    database = Database(url)
    try:
        await database.check_migrated()
    except StoreFault as fault:
        return "none" if "empty" in fault.message else fault.message
    finally:
        await database.close()
    return "whole"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("found", ["9999", "0000"])
def test_al_11_a_store_of_another_version_is_not_served(store_url: str, tmp_path: Path, found: str) -> None:
    asyncio.run(_migrated(store_url, found))
    serving = command(store_url, tmp_path, "serve")
    said, _ = serving.communicate(timeout=60)
    assert serving.returncode not in (0, None)
    assert found in said
    assert "db migrate" in said
    assert "Traceback" not in said
    assert found in asyncio.run(schema(store_url)), "it is as it was"


async def _migrated(url: str, version: str) -> None:
    from sqlalchemy import text

    database = Database(url)
    await database.migrate()
    async with database.transaction() as connection:
        await connection.execute(text(f"UPDATE alembic_version SET version_num = '{version}'"))
    await database.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_al_11_a_migration_that_is_killed_is_whole_or_nothing(store_url: str, tmp_path: Path, kind: str) -> None:
    url = store_url if kind == "postgresql" else f"sqlite:///{tmp_path / 'store.sqlite'}"
    migrating = command(url, tmp_path, "db", "migrate")
    started = time.monotonic()
    migrating.communicate(timeout=60)
    usual = time.monotonic() - started
    assert asyncio.run(schema(url)) == "whole"
    for attempt in range(6):
        if kind == "postgresql":
            with psycopg.connect(store_url.replace("+asyncpg", ""), autocommit=True) as admin:
                admin.execute("drop schema public cascade; create schema public")
        else:
            for leftover in tmp_path.glob("store.sqlite*"):
                leftover.unlink()
        migrating = command(url, tmp_path, "db", "migrate")
        time.sleep(usual * (0.5 + 0.09 * attempt) * random.uniform(0.95, 1.05))
        migrating.send_signal(signal.SIGKILL)
        migrating.communicate(timeout=60)
        assert asyncio.run(schema(url)) in ("whole", "none")
        again = command(url, tmp_path, "db", "migrate")
        said, _ = again.communicate(timeout=60)
        assert again.returncode == 0, said
        assert asyncio.run(schema(url)) == "whole"


@pytest.mark.timeout(240)
def test_al_11_processes_take_turns_on_one_store(store_url: str) -> None:
    """A rolling upgrade: the new process comes, the old one goes; whoever was connected is told, its session is closed
    in the index, and the same credential goes on at the new one."""
    with server_folder("stage") as directory:
        stage = Stage(directory, dashboard=False, settings={"store": {"url": store_url}})
        with stage, stage.client("dana") as dana:
            credential = dana.issue_credential(TARGET)
            dsn = credential.dsn.get_secret_value()
            connection = psycopg.connect(dsn, autocommit=True)
            assert connection.execute("select count(*) from public.orders where id = 1").fetchone() == (1,)
            (mine,) = [session for session in dana.sessions() if session.principal.name == "dana"]
            with gateway_beside(stage.gateway) as beside:
                new = psycopg.conninfo.make_conninfo(dsn, port=beside.postgres_port)
                with psycopg.connect(new, autocommit=True) as early:
                    stage.gateway.stop()
                    with pytest.raises(psycopg.OperationalError, match="stopping"):
                        connection.execute("select 1")
                    assert early.execute("select count(*) from public.orders where id = 2").fetchone() == (1,)
                with closing(psycopg.connect(new, autocommit=True)) as later:
                    assert later.execute("select count(*) from public.orders where id = 3").fetchone() == (1,)
                with Client(beside.url, stage.keys["rae"]) as rae:
                    ended = rae.session(mine.id)
                assert ended.closed_at is not None
                assert "stopping" in (ended.closed_reason or "")
