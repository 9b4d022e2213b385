"""`taskgate target test` against real servers: what is right, and each thing that can be wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from taskgate.cli.probing import probe
from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import Target, TlsMode


@pytest.fixture
def target(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setenv("PROBE_SECRET", postgres.password)
    monkeypatch.setenv("PROBE_WRONG", "canary-wrong-password")
    return Target(
        "orders-db", "postgres", "127.0.0.1", postgres.port, "postgres", "postgres", "env:PROBE_SECRET", TlsMode.DISABLE
    )


async def test_a_target_that_can_be_used(target: Target, postgres: PostgresServer) -> None:
    found = await probe(target)
    assert found.ok, found
    with psycopg.connect(postgres.dsn()) as connection:
        number = connection.info.server_version  # 150018 is 15.18
    assert found.server == f"PostgreSQL {number // 10000}.{number % 10000}"
    assert (found.user, found.tls) == ("postgres", "none")


async def test_what_is_wrong_is_said_without_the_secret(target: Target, tmp_path: Path) -> None:
    wrong = await probe(replace(target, secret="env:PROBE_WRONG"))
    assert wrong.problem is not None
    assert wrong.problem.startswith("the server says 28P01")
    missing = await probe(replace(target, secret="env:PROBE_NONE"))
    assert missing.problem is not None
    assert "PROBE_NONE" in missing.problem
    database = await probe(replace(target, database="nowhere"))
    assert database.problem is not None
    assert "3D000" in database.problem
    plain = await probe(replace(target, tls=TlsMode.VERIFY_FULL))
    assert not plain.ok  # the server offers no TLS, and nothing goes out in clear
    reader = await probe(replace(target, catalog_user="nobody", catalog_secret="env:PROBE_WRONG"))
    assert reader.problem is not None
    assert reader.problem.startswith("as the catalogue's reader: the server says 28P01")
    for found in (wrong, missing, database, plain, reader):
        assert "canary" not in json.dumps(found.as_data())
