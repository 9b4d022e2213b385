"""Fixtures every suite shares: the real PostgreSQL servers. A server that cannot start fails the test that needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgate.demo.postgres_server import PostgresServer, debian_bin, embedded_bin


def _server(bin_directory: Path, root: Path) -> Iterator[PostgresServer]:
    # As root the server runs as another user, who has to get through pytest's private (0700) folders.
    for parent in [root, *root.parents]:
        if parent.name.startswith(("pytest-", "popen-")) and os.geteuid() == 0:
            parent.chmod(0o711)
    server = PostgresServer(bin_directory, root).start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres18(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    yield from _server(embedded_bin(), tmp_path_factory.mktemp("postgres18"))


@pytest.fixture(scope="session")
def postgres15(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    yield from _server(debian_bin(), tmp_path_factory.mktemp("postgres15"))


@pytest.fixture(scope="session", params=["postgres18", "postgres15"])
def postgres(request: pytest.FixtureRequest) -> PostgresServer:
    """Both versions, one after the other."""
    server: PostgresServer = request.getfixturevalue(request.param)
    return server
