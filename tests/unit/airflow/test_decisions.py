from __future__ import annotations

from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs

from taskgate.client import Approval
from taskgate_airflow import compat
from taskgate_airflow.compat import AirflowFailException
from taskgate_airflow.configuration import GatewayAccess, NotConfigured
from taskgate_airflow.decisions import as_task, by_key, require_approved
from tests.e2e.control_api_stand_in import ControlApiServer


class Register:
    """Looks approvals up in memory, and remembers what it was asked."""

    def __init__(self, **deciders: str | None) -> None:
        self.deciders = deciders
        self.asked: list[str] = []

    def __call__(self, approval_id: str) -> Approval | None:
        self.asked.append(approval_id)
        if approval_id not in self.deciders:
            return None
        return Approval.model_construct(decided_by=self.deciders[approval_id], comment=f"as {approval_id}")


def test_an_approval_lets_the_task_go_on() -> None:
    assert require_approved({"state": "approved"}) is None


def test_everybody_who_approved_is_named_once() -> None:
    register = Register(apr_1="user:dana", apr_2="user:lee", apr_3="user:dana", apr_4=None)
    event = {"state": "approved", "approvals": ["apr_1", "apr_2", "apr_3", "apr_4"]}
    assert require_approved(event, register) == "user:dana, user:lee"


def test_who_cannot_be_told_once_is_not_asked_for_again() -> None:
    register = Register(apr_2="user:lee")
    assert require_approved({"state": "approved", "approvals": ["apr_1", "apr_2"]}, register) is None
    assert register.asked == ["apr_1"]


def test_what_the_event_says_is_not_looked_up() -> None:
    register = Register(apr_1="user:dana")
    event = {"approval": "apr_1", "approvals": ["apr_1"], "decided_by": "user:lee"}
    assert require_approved({"state": "approved", **event}, register) == "user:lee"
    with pytest.raises(AirflowFailException, match="^Approval apr_1 was denied by user:lee$"):
        require_approved({"state": "denied", **event}, register)
    assert register.asked == []


def test_of_a_denial_who_and_why_are_looked_up() -> None:
    with pytest.raises(AirflowFailException, match="^Approval apr_1 was denied by user:dana: as apr_1$"):
        require_approved({"state": "denied", "approval": "apr_1"}, Register(apr_1="user:dana"))
    with pytest.raises(AirflowFailException, match="^Approval apr_1 was denied$"):
        require_approved({"state": "denied", "approval": "apr_1"}, Register())


def _fails() -> NoReturn:
    raise RuntimeError("canary-password")


def test_looking_up_as_the_task_never_raises_and_tells_no_secret(
    control_api: ControlApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = iter([None, None, "http://gateway.example:1", "http://127.0.0.1:1", control_api.url])
    monkeypatch.setattr(compat, "secrets_backends", list)
    monkeypatch.setattr(compat, "configured", lambda section, name: next(urls) if name == "url" else None)
    monkeypatch.setattr("taskgate.client.sync.time.sleep", lambda _: None)
    tokens: list[Any] = [_fails, *[lambda: "tg_1.canary-password"] * 5]
    with capture_logs() as logs:
        assert [as_task(token)("apr_1") for token in tokens] == [None] * 6
    assert [line["reason"] for line in logs] == [
        "RuntimeError", "NotConfigured", "NotConfigured", "ConnectionSettingsError", "Unreachable", "NotAuthenticated",
    ]  # fmt: skip
    assert "canary" not in str(logs)


def test_looking_up_by_key_never_raises(
    control_api: ControlApiServer, monkeypatch: pytest.MonkeyPatch, backend_kwargs: dict[str, Any]
) -> None:
    def not_configured(cls: type[GatewayAccess]) -> NoReturn:
        raise NotConfigured("no")

    monkeypatch.setattr(GatewayAccess, "from_airflow", classmethod(not_configured))
    assert by_key("apr_1") is None
    access = GatewayAccess(backend_kwargs["url"], backend_kwargs["api_key_file"])
    monkeypatch.setattr(GatewayAccess, "from_airflow", classmethod(lambda cls: access))
    assert by_key("apr_missing") is None
    approval = control_api.api.approval(state="denied", decided_by="user:dana")
    found = by_key(approval["id"])
    assert found is not None
    assert found.decided_by == "user:dana"


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (
            {"state": "denied", "approval": "apr_1", "decided_by": "user:dana", "comment": "wrong month"},
            "Approval apr_1 was denied by user:dana: wrong month",
        ),
        ({"state": "expired", "approval": "apr_1"}, "expired before anybody decided"),
        ({"state": "withdrawn", "approval": "apr_1"}, "was withdrawn"),
        ({"state": "unknown", "approval": "apr_1", "comment": "no such"}, "not known to Taskgate"),
        ({}, "Approval None None"),
    ],
)
def test_anything_else_fails_without_retries(event: dict[str, str], says: str) -> None:
    with pytest.raises(AirflowFailException, match=says):
        require_approved(event)
