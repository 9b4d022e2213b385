from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from taskgate.api.app import create_app
from tests.unit.api.control_plane import Plane

ClientFor = Callable[[str | None], httpx.AsyncClient]


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
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
