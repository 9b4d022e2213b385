"""A gateway in front of each real server, with a gate that permits everything unless the test says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer
from tests.servers.gate import ScriptedGate, loopback_target
from tests.servers.gateway import RunningGateway, running_gateway


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """A fresh database: its name, which is also that of the target's."""
    name = "shop"
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    yield name
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def direct(postgres: PostgresServer, database: str) -> str:
    """The DSN of a direct connection."""
    return postgres.dsn(database)


@pytest.fixture
def gate(postgres: PostgresServer, database: str) -> ScriptedGate:
    return ScriptedGate(loopback_target(postgres.port, database=database), postgres.password)


@pytest.fixture
def gateway(gate: ScriptedGate) -> Iterator[RunningGateway]:
    with running_gateway(gate) as running:
        yield running


@pytest.fixture
def setup(direct: str) -> Callable[[str], None]:
    """Run SQL beside the gateway."""

    def run(sql: str) -> None:
        with psycopg.connect(direct, autocommit=True) as connection:
            connection.execute(sql)

    return run
