"""The demo's database on a real server: the roles hold what they should and nothing more."""

from collections.abc import Iterator

import asyncpg
import pytest

from taskgate.demo import data
from taskgate.demo.postgres_server import PostgresServer
from tests.e2e.shop import empty


@pytest.fixture
def server(postgres18: PostgresServer) -> Iterator[PostgresServer]:
    yield postgres18
    empty(postgres18)


async def test_roles_and_rows(server: PostgresServer) -> None:
    await data.fill(server, "app-password", "catalog-password", customer_count=20, order_count=50)
    app = await asyncpg.connect(server.dsn(data.DATABASE, data.APP_ROLE, "app-password"))
    try:
        assert await app.fetchval("select count(*) from public.customers") == 20
        assert await app.fetchval("select count(*) from public.orders") == 50
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute("drop table public.orders")
    finally:
        await app.close()
    reader = await asyncpg.connect(server.dsn(data.DATABASE, data.CATALOG_ROLE, "catalog-password"))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.fetch("select * from public.customers")
    finally:
        await reader.close()
