from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from taskgate_airflow import lineage
from taskgate_airflow.lineage import report_statement, session_id
from tests.unit.airflow.conftest import a_collector


class _Refusal(Exception):
    def __init__(self, detail: str) -> None:
        self.diag = SimpleNamespace(sqlstate="42501", message_detail=detail, message_primary="no", message_hint=None)


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> Any:
    collector = a_collector()
    monkeypatch.setattr(lineage, "hook_lineage_collector", lambda: collector)
    return lambda: [entry.value for entry in collector.collected_assets.extra if entry.key == "taskgate"]


def _connection(application_name: str | None) -> Any:
    return SimpleNamespace(info=SimpleNamespace(parameter_status=lambda name: application_name))


@pytest.mark.parametrize(
    ("application_name", "expected"),
    [
        ("taskgate ses_0199 airflow", "ses_0199"),
        ("taskgate ses_0199", "ses_0199"),
        ("psql", None),
        ("taskgate", None),
        ("taskgate psql ses_1", None),
        ("", None),
        (None, None),
    ],
)
def test_a_session_is_read_from_what_the_target_reports(application_name: str | None, expected: str | None) -> None:
    assert session_id(_connection(application_name)) == expected


def test_a_driver_that_does_not_tell_fails_nothing() -> None:
    assert session_id(object()) is None
    assert session_id(SimpleNamespace(info=object())) is None


def test_what_ran(reported: Any) -> None:
    report_statement(SimpleNamespace(), ["SELECT 1", "SELECT 2"], session="ses_1", asked=("apr_1",))
    assert reported() == [
        {"sql": "SELECT 1; SELECT 2", "session_id": "ses_1", "outcome": "ran", "approvals": ["apr_1"]}
    ]


def test_refusals_name_their_session_and_approval(reported: Any) -> None:
    hook = SimpleNamespace()
    report_statement(hook, "DELETE", session="ses_1", error=_Refusal("rule=r\nsession=ses_2\napproval=apr_2"))
    report_statement(hook, "DROP", session="ses_1", error=_Refusal("rule=r\nsession=ses_2"))
    report_statement(hook, "SELEC", session="ses_1", error=ValueError("syntax"))
    assert [(one["session_id"], one["outcome"], one["approvals"]) for one in reported()] == [
        ("ses_2", "pending", ["apr_2"]),
        ("ses_2", "refused", []),
        ("ses_1", "failed", []),
    ]


def test_a_collector_that_fails_fails_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def broken() -> Any:
        raise RuntimeError("secret text")

    monkeypatch.setattr(lineage, "hook_lineage_collector", broken)
    hook = SimpleNamespace(log=SimpleNamespace(warning=lambda text, *values: said.append(text % values)))
    report_statement(hook, "SELECT 1", session=None)
    assert said == ["taskgate: lineage could not be reported: RuntimeError"]
