"""One Prefect server and one gateway for all tests here: both are slow to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope
from tests.e2e.shop import Shop, shop
from tests.integration.prefect.governed_prefect import POLICY, SOURCE, GovernedPrefect


@pytest.fixture(scope="package")
def prefect_server() -> Iterator[str]:
    with prefect_test_harness(server_startup_timeout=90):
        yield PREFECT_API_URL.value()


@pytest.fixture(scope="package")
def running_shop(
    tmp_path_factory: pytest.TempPathFactory, postgres18: PostgresServer, prefect_server: str
) -> Iterator[tuple[Shop, str]]:
    settings = {"prefect": [{"source": SOURCE, "url": prefect_server, "check_interval": 1.0}]}
    with shop(tmp_path_factory.mktemp("shop"), postgres18, policy=POLICY, settings=settings) as running:
        key = running.gateway.api_key(PrincipalKind.SERVICE, SOURCE, [Scope.CREDENTIALS_ISSUE])
        yield running, key


@pytest.fixture
def governed(running_shop: tuple[Shop, str]) -> Iterator[GovernedPrefect]:
    running, key = running_shop
    yield GovernedPrefect(running, key)
