"""One gateway for all tests here, that knows the session's Prefect server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.domain import PrincipalKind
from taskgate.identity.scopes import Scope
from tests.e2e.shop import shop
from tests.integration.prefect.governed_prefect import POLICY, SOURCE, GovernedPrefect


@pytest.fixture(scope="package")
def governed_prefect(
    tmp_path_factory: pytest.TempPathFactory, postgres18: PostgresServer, prefect_server: str
) -> Iterator[GovernedPrefect]:
    settings = {"prefect": [{"source": SOURCE, "url": prefect_server, "check_interval": 1.0}]}
    with shop(tmp_path_factory.mktemp("shop"), postgres18, policy=POLICY, settings=settings) as running:
        issues = running.gateway.api_key(PrincipalKind.SERVICE, SOURCE, [Scope.CREDENTIALS_ISSUE])
        revokes = running.gateway.api_key(PrincipalKind.USER, "oncall", [Scope.CREDENTIALS_REVOKE])
        yield GovernedPrefect(running, issues, revokes)


@pytest.fixture
def governed(governed_prefect: GovernedPrefect) -> GovernedPrefect:
    """With nothing decided yet."""
    return replace(governed_prefect, decided=[])
