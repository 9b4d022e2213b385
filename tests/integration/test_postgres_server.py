"""The launcher's own promises: the right version, SCRAM only, loopback only, not as root."""

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer


def test_serves_both_versions(postgres18: PostgresServer, postgres15: PostgresServer) -> None:
    for server, version in ((postgres18, 18), (postgres15, 15)):
        with psycopg.connect(server.dsn()) as connection:
            assert connection.info.server_version // 10000 == version


def test_wants_the_password(postgres18: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres18.dsn(password="wrong"))
