"""Cached results are found by those who are shown the same, and by nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect import flow, tags, task
from prefect.cache_policies import INPUTS

from taskgate_prefect import GovernedCachePolicy
from tests.integration.prefect.governed_prefect import GovernedPrefect


def _cached(governed: GovernedPrefect, folder: Path, runs: list[int]) -> Any:
    policy = (INPUTS + GovernedCachePolicy(governed.connector())).configure(key_storage=folder)

    @task(cache_policy=policy, persist_result=True)
    def counts(relation: str) -> int:
        runs.append(1)
        return len(relation)

    return counts


def test_the_same_are_shown_the_same(governed: GovernedPrefect, tmp_path: Path) -> None:
    runs: list[int] = []
    counts = _cached(governed, tmp_path, runs)

    @flow
    def one() -> int:
        return int(counts("orders"))

    @flow
    def other() -> int:
        return int(counts("orders"))

    assert one() == one() == 6
    assert len(runs) == 1, "another run of the same flow is shown the same"
    with tags("of-other-attributes"):
        assert one() == 6
    assert len(runs) == 2, "policy may look at tags"
    assert other() == 6
    assert len(runs) == 3, "policy may look at the flow's name"


def test_where_nobody_can_be_asked_nothing_is_kept(
    governed: GovernedPrefect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    connector = governed.connector()
    connector.gateway.url = "http://127.0.0.1:9"
    policy = (INPUTS + GovernedCachePolicy(connector)).configure(key_storage=tmp_path)

    @task(cache_policy=policy, persist_result=True)
    def counts() -> None:
        runs.append(1)

    @flow
    def whole() -> None:
        counts()
        counts()

    whole()
    assert len(runs) == 2
    assert not [one for one in tmp_path.rglob("*") if one.is_file()]


def test_a_policy_that_knows_no_connector_keeps_nothing(governed: GovernedPrefect, tmp_path: Path) -> None:
    runs: list[int] = []

    @task(cache_policy=(INPUTS + GovernedCachePolicy()).configure(key_storage=tmp_path), persist_result=True)
    def counts(number: int) -> None:
        runs.append(number)

    @flow
    def whole() -> None:
        counts(1)
        counts(1)

    whole()
    assert runs == [1, 1]


def test_connectors_among_the_parameters_count(governed: GovernedPrefect, tmp_path: Path) -> None:
    runs: list[int] = []

    @task(cache_policy=(INPUTS + GovernedCachePolicy()).configure(key_storage=tmp_path), persist_result=True)
    def counts(database: Any) -> None:
        runs.append(1)

    @flow
    def whole() -> None:
        database = governed.connector()
        counts(database)
        counts(database)

    whole()
    whole()
    assert len(runs) == 1
