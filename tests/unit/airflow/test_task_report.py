from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from taskgate.client import Client
from taskgate.client.models import Approval, Session
from taskgate_airflow import gateway_hooks, task_report
from taskgate_airflow.compat import hook_lineage_readers
from taskgate_airflow.gateway_hooks import data_path_credentials
from tests.unit.airflow.conftest import a_collector

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
PRINCIPAL = {"kind": "task", "name": "etl.clean", "source": "s", "assurance": "verified", "verified_by": "airflow"}


class _Hook:
    """What DbApiHook keeps of a connection."""

    def __init__(self, login: str | None, password: str = "secret-of-the-data-path") -> None:
        self._connection = SimpleNamespace(login=login, password=password) if login else None

    @property
    def connection(self) -> Any:
        raise AssertionError("asking for it could fetch one")

    def fails(self, error: Exception) -> None:
        raise error


def _refusal(**detail: str) -> Exception:
    error = Exception("refused")
    lines = "\n".join(f"{name}={value}" for name, value in detail.items())
    error.diag = SimpleNamespace(  # type: ignore[attr-defined]
        sqlstate="42501",
        message_primary="taskgate: refused by rule no-ddl: Schema changes go through migrations.",
        message_detail=f"rule=no-ddl\nrule=no-drop\neffect=sql.ddl public.orders\n{lines}",
        message_hint="Ask the owners of the policy.",
    )
    return error


def _raised(hook: _Hook, error: Exception) -> Exception:
    try:
        hook.fails(error)
    except Exception as raised:  # noqa: BLE001
        return raised
    raise AssertionError


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Any:
    found = a_collector()
    monkeypatch.setattr(gateway_hooks, "hook_lineage_collector", lambda: found)
    return found


@pytest.fixture
def logs(collector: Any) -> Iterator[list[Any]]:
    task_report._spent.clear()
    task_report.log = structlog.get_logger()
    with capture_logs() as captured:
        yield captured


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Who asked the control API, with a report that answers all. (The route itself is the gateway's to test.)"""
    calls: list[Any] = []
    session = Session(
        id="ses_1", principal=PRINCIPAL, target="orders-db", protocol="postgres", state="closed", opened_at=START,
        actions=3, refused=1, rows=212, masked=660,
    )  # fmt: skip
    approval = Approval.model_validate(
        {
            "id": "apr_1", "state": "approved", "principal": PRINCIPAL, "target": "orders-db", "session_id": "ses_1",
            "text": "DELETE secret-statement", "pairs": [], "rules": ["deletes-need-a-human"], "policy_version": "v",
            "terms": {"approvers": [], "hold": 1, "hold_in_transaction": 1, "expires": 1, "uses": 1},
            "requested_at": START, "expires_at": START, "decided_at": START + timedelta(seconds=95),
            "decided_by": "user:dana", "comment": "fine\nERROR forged line", "digest": "d", "owner_key": "o",
        }
    )  # fmt: skip

    def attempt(self: Client) -> Any:
        request = next(self._http.auth.auth_flow(self._http.build_request("GET", "/")))  # type: ignore[union-attr]
        calls.append((self.url, request.headers["Authorization"], self._timeout, self._tries))
        return SimpleNamespace(principal=None, sessions=[session], approvals=[approval])

    monkeypatch.setattr(Client, "attempt", attempt)
    monkeypatch.setenv("AIRFLOW__TASKGATE__URL", "http://127.0.0.1:8400")
    return calls


def _said(logs: list[Any]) -> list[str]:
    return [entry["event"] for entry in logs if entry["log_level"] != "debug"]


def test_a_task_through_the_gateway_gets_its_lines(
    asked: list[Any], collector: Any, logs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TASKGATE__DASHBOARD_URL", "https://dash.example/")
    collector.add_extra(_Hook("tg_1"), "sql_job", {"sql": "SELECT 1"})  # type: ignore[arg-type]
    task_report.on_task_instance_success()
    assert _said(logs) == [
        "Taskgate session ses_1 on orders-db: 3 statements allowed, 1 refused, 212 rows, 660 values masked. "
        "https://dash.example/timeline?id=ses_1",
        "Taskgate approval apr_1 (deletes-need-a-human): approved by user:dana after 1 min 35 s: "
        '"fine\\nERROR forged line". https://dash.example/approvals?id=apr_1',
    ]
    assert asked == [("http://127.0.0.1:8400", "Bearer tg_1.secret-of-the-data-path", 2.0, 1)]
    assert "secret" not in str(logs)


def test_other_tasks_ask_nothing(asked: list[Any], collector: Any, logs: list[Any]) -> None:
    for hook in (_Hook("app_user"), _Hook(None), object()):
        collector.add_extra(hook, "sql_job", {"sql": "SELECT 1"})  # type: ignore[arg-type]
    task_report.on_task_instance_success()
    task_report.on_task_instance_failed(error="set to failed by alice")
    task_report.on_task_instance_failed(error=ValueError("of the task"))
    assert asked == logs == []


def test_a_refused_statement_leaves_no_lineage_and_is_found_in_the_error(asked: list[Any], logs: list[Any]) -> None:
    error = _raised(_Hook("tg_2"), _refusal(session="ses_9", approval="apr_9", url="https://d/approvals?id=apr_9"))
    outer = RuntimeError("of the operator")
    outer.__context__ = error
    task_report.on_task_instance_failed(error=outer)
    refused, *rest = [entry for entry in logs if entry["log_level"] != "debug"]
    assert refused == {
        "event": "Refused by the gateway: refused by rule no-ddl: Schema changes go through migrations. "
        "Ask the owners of the policy.",
        "rule": "no-ddl, no-drop",
        "session": "ses_9",
        "approval": "apr_9",
        "url": "https://d/approvals?id=apr_9",
        "log_level": "warning",
    }
    assert len(rest) == 2
    assert asked[0][1].startswith("Bearer tg_2.")


def test_errors_of_others_are_not_called_refusals(asked: list[Any], logs: list[Any]) -> None:
    error = _refusal()  # a 42501 of the target's own: no session of the gateway in it
    task_report.on_task_instance_failed(error=error)
    assert logs == []


def test_an_attempt_is_reported_once(asked: list[Any], collector: Any, logs: list[Any]) -> None:
    """`dag.test()` runs every task in one process, whose lineage goes on knowing the earlier tasks' hooks."""
    collector.add_extra(_Hook("tg_1"), "sql_job", {"sql": "SELECT 1"})  # type: ignore[arg-type]
    task_report.on_task_instance_success()
    task_report.on_task_instance_success()
    assert len(asked) == 1


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1", "https://127.0.0.1:1", "not an address"])
def test_a_gateway_that_does_not_answer_fails_nothing_and_costs_little(
    monkeypatch: pytest.MonkeyPatch, collector: Any, logs: list[Any], url: str
) -> None:
    monkeypatch.setenv("AIRFLOW__TASKGATE__URL", url)
    monkeypatch.setattr(Client, "attempt", Client.whoami)
    collector.add_extra(_Hook("tg_1"), "sql_job", {"sql": "SELECT 1"})  # type: ignore[arg-type]
    started = time.monotonic()
    task_report.on_task_instance_success()
    assert time.monotonic() - started < 5
    assert _said(logs) == []
    assert "secret" not in str(logs)


def test_credentials_are_listed_once_and_hide_themselves(collector: Any) -> None:
    hook = _Hook("tg_1")
    collector.add_extra(hook, "sql_job", {"sql": "SELECT 1"})  # type: ignore[arg-type]
    collector.add_extra(hook, "sql_job", {"sql": "SELECT 2"})  # type: ignore[arg-type]
    error = _raised(hook, _raised(_Hook("tg_2"), ValueError()))
    found = data_path_credentials(error)
    assert [one.user for one in found] == ["tg_1", "tg_2"]
    assert "secret" not in repr(found)


def test_errors_in_a_circle_end(collector: Any) -> None:
    error = ValueError()
    error.__cause__ = error
    assert data_path_credentials(error) == []


def test_lineage_is_read_only_where_somebody_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from taskgate_airflow.plugin import TaskgatePlugin

    plugin = type("Plugin", (TaskgatePlugin,), {})
    plugin.on_load()
    assert plugin.hook_lineage_readers == []
    monkeypatch.setenv("AIRFLOW__WORKERS__SECRETS_BACKEND", "taskgate_airflow.secrets.TaskgateSecretsBackend")
    monkeypatch.setenv("AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS", '{"url": "https://gw:8400"}')
    plugin.on_load()
    assert plugin.hook_lineage_readers == hook_lineage_readers()
