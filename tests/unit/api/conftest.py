from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from taskgate.api.app import create_app
from taskgate.store.database import Database
from tests.unit.api.control_plane import Plane

ClientFor = Callable[[str | None], httpx.AsyncClient]


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty store to copy: migrating takes longer than most of these tests."""
    path = tmp_path_factory.mktemp("store") / "store.sqlite"

    async def migrate() -> None:
        database = Database(f"sqlite:///{path}")
        await database.migrate()
        await database.close()

    with ThreadPoolExecutor(1) as threads:  # a thread has no running loop
        threads.submit(asyncio.run, migrate()).result()
    return path


@pytest.fixture
async def plane(tmp_path: Path, migrated_store: Path) -> AsyncIterator[Plane]:
    shutil.copy(migrated_store, tmp_path)
    plane = await Plane.create(tmp_path)
    yield plane
    await plane.database.close()


@pytest.fixture
def app(plane: Plane) -> FastAPI:
    return create_app(plane)


@pytest.fixture
async def client_for(app: FastAPI) -> AsyncIterator[ClientFor]:
    """An HTTP client that presents a key (or none)."""
    async with AsyncExitStack() as stack:
        clients: list[httpx.AsyncClient] = []

        def make(key: str | None) -> httpx.AsyncClient:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            client = httpx.AsyncClient(transport=transport, base_url="https://gateway.example", headers=headers)
            clients.append(client)
            return client

        yield make
        for client in clients:
            stack.push_async_callback(client.aclose)
