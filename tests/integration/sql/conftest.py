"""Databases with the same tables and rows, whose secret columns hold different values."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import Target, TlsMode
from taskgate.sql.catalog import Catalog
from taskgate.sql.catalog_reader import CatalogReader
from tests.integration.sql import twin_tables

Connection = psycopg.Connection[Any]


def target(server: PostgresServer, database: str) -> Target:
    return Target("db", "postgres", "127.0.0.1", server.port, database, "postgres", "env:X", tls=TlsMode.DISABLE)


def read_catalog(server: PostgresServer, database: str) -> Catalog:
    async def read() -> Catalog:
        reader = CatalogReader(target(server, database), server.password)
        try:
            return await reader.read()
        finally:
            await reader.close()

    return asyncio.run(read())


def new_database(server: PostgresServer, name: str, script: str = "") -> Connection:
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(f'drop database if exists "{name}" with (force)')
        admin.execute(f'create database "{name}"')
    connection = psycopg.connect(server.dsn(name), autocommit=True)
    if script:
        connection.execute(script)
    return connection


@dataclass
class Twins:
    """Two databases that differ in nothing but the secret, and the catalogue of the first."""

    one: Connection
    other: Connection
    catalog: Catalog


@pytest.fixture(scope="module")
def twins(postgres: PostgresServer) -> Iterator[Twins]:
    one = new_database(postgres, "twin_one", twin_tables.SCHEMA + twin_tables.rows("qwzx-vk"))
    other = new_database(postgres, "twin_other", twin_tables.SCHEMA + twin_tables.rows("Jm40 "))
    for connection in (one, other):  # Debian's server has a JIT, which takes seconds for what it believes to be huge
        connection.execute("set jit = off")
    yield Twins(one, other, read_catalog(postgres, "twin_one"))
    one.close()
    other.close()
