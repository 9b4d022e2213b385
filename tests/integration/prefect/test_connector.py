from __future__ import annotations

from prefect import flow, task

from tests.integration.prefect.governed_prefect import GovernedPrefect


def test_a_flow_reads_and_writes(governed: GovernedPrefect) -> None:
    @task
    def reads() -> list[object]:
        with governed.connector() as database:
            return list(database.fetch_all("SELECT id FROM orders ORDER BY id LIMIT 3"))

    @flow
    def whole() -> list[object]:
        return reads()

    assert len(whole()) == 3


def test_a_pause_waits_for_the_human(governed: GovernedPrefect) -> None:
    @task
    def deletes() -> int:
        with governed.connector() as database:
            return int(database.execute("DELETE FROM orders WHERE id = 1").rowcount)

    @flow
    def whole() -> int:
        return deletes()

    with governed.deciding():
        assert whole() == 1
