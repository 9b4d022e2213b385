"""A migrated store of each kind: every test that takes `database` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.store.database import Database


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "template.sqlite"
    run_apart(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def migrated_template(postgres18: PostgresServer) -> str:
    # A name of its own: each folder of tests that imports this fixture gets a template.
    name = f"store_template_{secrets.token_hex(6)}"
    run_apart(execute(postgres18, f"CREATE DATABASE {name}"))
    run_apart(_migrate(postgres18.dsn(name)))
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a migrated, empty store that nobody else uses, gone after the test: a database is 8 MB on disk."""
    if request.param == "sqlite":
        path = tmp_path / "store.sqlite"
        shutil.copy(request.getfixturevalue("migrated_file"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres18")
    template = request.getfixturevalue("migrated_template")
    name = f"store_{secrets.token_hex(6)}"
    run_apart(execute(server, f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield server.dsn(name)
    run_apart(execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    database = Database(store_url)
    yield database
    await database.close()


def run_apart(work: Coroutine[None, None, None]) -> None:
    """In a thread with a loop of its own: fixtures of wider scope than a test have none."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, work).result()


async def _migrate(url: str) -> None:
    database = Database(url)
    await database.migrate()
    await database.close()


async def execute(server: PostgresServer, statement: str) -> None:
    connection = await asyncpg.connect(server.dsn())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
