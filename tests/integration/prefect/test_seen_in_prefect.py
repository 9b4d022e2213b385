"""What Prefect shows of a governed session."""

from __future__ import annotations

from typing import Any

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.runtime import flow_run

from tests.integration.prefect.governed_prefect import GovernedPrefect

_MARKER = "'a value of the statement'"


def _artifacts(flow_run_id: Any) -> list[Any]:
    with get_client(sync_client=True) as client:
        return list(
            client.read_artifacts(
                artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
            )
        )


def test_an_artifact_a_session_and_lines_in_the_log(
    governed: GovernedPrefect, caplog: pytest.LogCaptureFixture
) -> None:
    connector = governed.connector()
    connector.gateway.dashboard_url = "https://taskgate.example:8501/"

    @task
    def works() -> None:
        with connector as database:
            assert len(database.fetch_all("SELECT id, ssn FROM customers WHERE id < 6")) == 5
            database.execute(f"UPDATE orders SET status = {_MARKER} WHERE id = 80")

    @flow
    def whole() -> str:
        works()
        return str(flow_run.id)

    with governed.deciding():
        run_id = whole()
    found = _artifacts(run_id)
    assert found
    whole_text = "\n".join(str(one.data) + str(one.description) for one in found)
    assert {one.key for one in found} == {"taskgate-orders-db"}
    assert all(one.task_run_id for one in found)
    assert "| values masked | 5 |" in whole_text
    assert "| effects | sql.update public.orders |" in whole_text
    assert "sql.select public.customers" in whole_text
    assert "https://taskgate.example:8501/timeline?id=ses_" in whole_text
    assert "whole" in whole_text
    assert "(asserted" in whole_text
    assert governed.decided[0].id.replace("_", "\\_") in whole_text
    assert ": approved by" in whole_text
    log = caplog.text
    assert "on orders-db, as whole.works (asserted)" in log
    assert "5 values masked" in log
    assert governed.decided[0].id in log
    assert _MARKER not in whole_text
    assert _MARKER not in log.replace("Executed the operation", "")


async def test_asynchronously_too(governed: GovernedPrefect) -> None:
    @flow
    async def whole() -> str:
        async with governed.async_connector() as database:
            await database.fetch_all("SELECT ssn FROM customers WHERE id < 4")
        return str(flow_run.id)

    found = _artifacts(await whole())
    assert len(found) == 1
    assert "| values masked | 3 |" in found[0].data
