from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from taskgate.approvals.notifiers.notification import Notification
from taskgate.domain import (
    Approval,
    ApprovalState,
    ApprovalTerms,
    Assurance,
    Attempt,
    Principal,
    PrincipalKind,
    TaskKey,
)
from taskgate.visible import is_shown

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
APPROVAL = Approval(
    id="apr_1",
    digest="d" * 64,
    state=ApprovalState.PENDING,
    owner_key="user:taskgate:alice",
    principal=Principal(PrincipalKind.USER, "alice", "taskgate", Assurance.VERIFIED, "api_key"),
    target="orders-db",
    session_id="ses_1",
    text="DELETE FROM orders WHERE card = '4111111111111111'",
    pairs=("sql.delete public.orders",),
    rules=("deletes-need-a-human",),
    terms=ApprovalTerms(("group:dba",)),
    policy_version="p1",
    requested_at=NOW,
    expires_at=NOW + timedelta(hours=4),
    estimate={"rows": 12},
)


def about(approval: Approval) -> Notification:
    return Notification.about("ntf_1", "approval.requested", approval, "https://gate/approvals/apr_1")


def test_says_who_asks_for_what_and_where() -> None:
    notification = about(APPROVAL)
    assert notification.summary == "asks for approval: user:taskgate:alice on orders-db: sql.delete public.orders"
    assert notification.url == "https://gate/approvals/apr_1"
    assert notification.expires_at == "2026-11-23T16:00:00+00:00"
    assert notification.approvers == ("group:dba",)
    assert notification.command == "taskgate approvals show apr_1"


def test_without_a_dashboard_there_is_no_link() -> None:
    notification = Notification.about("ntf_1", "approval.requested", APPROVAL, None)
    assert json.loads(json.dumps(notification.to_json()))["url"] is None
    assert Notification.from_json(notification.to_json()) == notification


def test_one_that_waits_since_before_there_were_commands_is_read() -> None:
    facts = about(APPROVAL).to_json()
    del facts["command"], facts["task"]
    assert (Notification.from_json(facts).command, Notification.from_json(facts).task) == ("", None)


def test_names_the_task_that_asks() -> None:
    key = TaskKey("prod", "orders-cleanup", "5c1e", "cle\u202ean")
    asks = replace(APPROVAL.principal, attempt=Attempt("t:1", key, run_name="wakeful-crow", of_run=True))
    assert about(APPROVAL).task is None
    assert about(replace(APPROVAL, principal=asks)).task == {
        "source": "prod", "dag_id": "orders-cleanup", "run_id": "5c1e", "task_id": "cle\\u{202e}an", "map_index": -1,
        "run_name": "wakeful-crow",
    }  # fmt: skip


def test_neither_statement_nor_estimate_nor_comment_is_sent() -> None:
    sent = json.dumps(about(replace(APPROVAL, comment="see 4111111111111111")).to_json())
    for hidden in ("4111111111111111", "DELETE", "d" * 64, '"rows"'):
        assert hidden not in sent


def test_names_cannot_hide_or_reorder_text_or_flood() -> None:
    hostile = replace(APPROVAL, pairs=("sql.delete public.\u202eorders\n\x1b[2J\u3164",), target="db\u2028x")
    summary = about(hostile).summary
    assert all(is_shown(char) for char in summary)
    assert "\\u{202e}" in summary
    flood = about(replace(APPROVAL, pairs=("sql.select " + "x" * 10_000,)))
    assert len(flood.summary) <= 401
    many = about(replace(APPROVAL, pairs=tuple(f"sql.select t{number}" for number in range(40))))
    assert many.summary.endswith("and 35 more")


def test_round_trip() -> None:
    notification = about(APPROVAL)
    assert Notification.from_json(json.loads(json.dumps(notification.to_json()))) == notification
