"""Fixtures every suite shares: the real PostgreSQL servers. A server that cannot start fails the test that needs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from taskgate.demo.postgres_server import PostgresServer, debian_bin, embedded_bin
from tests.servers.folders import server_folder

_HARNESS = re.compile(r"\bprefect_server\b|tests\.integration\.prefect")  # what shares one `prefect_server`


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where two workers share the tests a file stays with one of them, and so does whatever needs the package's
    Airflow or Prefect: each is started once, and two of them are more than two cores can carry."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _scope(nodeid.partition("::")[0])

    return ByFile(config, log)


@cache
def _scope(file: str) -> str:
    text = Path(file).read_text(encoding="utf-8")
    real = next((one for one in ("airflow", "prefect") if f"real_{one}" in text), None)
    return real or ("prefect_server" if _HARNESS.search(text) else file)


@pytest.fixture(scope="session")
def postgres18() -> Iterator[PostgresServer]:
    with server_folder("postgres18") as folder, PostgresServer(embedded_bin(), folder) as server:
        yield server


@pytest.fixture(scope="session")
def postgres15() -> Iterator[PostgresServer]:
    with server_folder("postgres15") as folder, PostgresServer(debian_bin(), folder) as server:
        yield server


@pytest.fixture(scope="session", params=["postgres18", "postgres15"])
def postgres(request: pytest.FixtureRequest) -> PostgresServer:
    """Both versions, one after the other."""
    server: PostgresServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Prefect's own test harness: a server on SQLite, and this process's settings for it; the server's address. One a
    session: what sends this process's events stays with the first."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_LOCAL_STORAGE_PATH,
        PREFECT_MEMO_STORE_PATH,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    home = tmp_path_factory.mktemp("prefect")  # else in the user's own home; the server's own before it starts
    memos = temporary_settings({PREFECT_MEMO_STORE_PATH: home / "memo_store.toml"})
    results = temporary_settings({PREFECT_LOCAL_STORAGE_PATH: home / "storage"})
    with memos, prefect_test_harness(server_startup_timeout=90), results:
        yield PREFECT_API_URL.value()
