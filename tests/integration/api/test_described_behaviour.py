"""The API over a real socket does what its description says, whatever it is sent (schemathesis)."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from taskgate.identity.scopes import Scope
from taskgate.store.ids import IdPrefix, new_id
from tests.unit.api.control_plane import draft
from tests.unit.cli.conftest import Running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

ENDLESS = {"/v1/approvals/watch"}  # an answer that does not end: tests/integration/api/test_approval_feed.py


def _check_all(running: Running, examples: int) -> int:
    plane = running.plane
    running.do(plane.recorded(new_id(IdPrefix.SESSION), ["SELECT 1"]))
    running.do(plane.approvals.request(draft()))
    key = running.do(plane.key("fuzz", Scope.ADMIN, Scope.APPROVALS_DECIDE, user=True, groups=["dba"]))
    schema = schemathesis.openapi.from_url(f"{running.url}/v1/openapi.json")
    checked = 0
    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]
        if operation.path in ENDLESS:
            continue

        @given(case=operation.as_strategy())
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Any) -> None:
            response = case.call(headers={"Authorization": f"Bearer {key}"}, timeout=70)
            case.validate_response(response, checks=CHECKS)

        check()
        checked += 1
    return checked


def test_every_operation_keeps_its_word(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert _check_all(running, 8) >= 28


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_operation_keeps_its_word_for_longer(running: Running) -> None:
    assert _check_all(running, 200) >= 28
