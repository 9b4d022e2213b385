"""Whatever a Prefect answers to a resume, it is an answer or a Prefect that is away."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from taskgate.identity.orchestrators.faults import OrchestratorAway
from tests.integration.identity.prefect_stand_in import Prefect

RUN = "5c1ee0a4-0c0e-4f0d-9a51-000000000001"


async def resumed(answer: Any) -> str | None:
    prefect = Prefect()
    prefect.answer = httpx.Response(200, json=answer)
    return await prefect.source().rest.resume(RUN, {"approval_id": "apr_1"})


@pytest.mark.parametrize("details", [{}, {"type": "accept_details"}, None, "text", ["x"], 7])
async def test_a_run_that_was_resumed(details: Any) -> None:
    assert await resumed({"status": "ACCEPT", "details": details}) is None


@pytest.mark.parametrize(
    ("details", "why"),
    [
        ({"type": "reject_details", "reason": "Run is not paused."}, "Run is not paused."),
        ("text", "text"),
        ({"reason": {"deep": []}}, "REJECT"),
        ({"reason": ""}, "REJECT"),
        ({}, "REJECT"),
        (None, "REJECT"),
        (["reason"], "REJECT"),
        (7, "REJECT"),
        (True, "REJECT"),
    ],
)
async def test_one_that_was_not_whatever_shape_the_reason_has(details: Any, why: str) -> None:
    assert await resumed({"status": "REJECT", "details": details}) == why


@pytest.mark.parametrize("status", [None, 7, [], {}, ""])
async def test_a_status_that_is_none_resumes_nothing(status: Any) -> None:
    assert await resumed({"status": status}) == "no reason is given"


@pytest.mark.parametrize("answer", [[], "ACCEPT", 7, True, {}, {"details": {"reason": "x"}}])
async def test_no_answer_that_is_not_understood_counts(answer: Any) -> None:
    with pytest.raises(OrchestratorAway, match="not understood"):
        await resumed(answer)
