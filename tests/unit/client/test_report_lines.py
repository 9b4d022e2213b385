from __future__ import annotations

from datetime import UTC, datetime, timedelta

from taskgate.client.models import Approval, ApprovalTerms, AttemptReport, Principal, Session
from taskgate.client.report_lines import report_lines, session_link
from taskgate.domain import ApprovalState, Assurance, PrincipalKind

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_WHO = Principal(kind=PrincipalKind.TASK, name="f.t", source="p", assurance=Assurance.ASSERTED, verified_by="key")


def _session(number: int, state: str = "closed", actions: int = 1) -> Session:
    return Session(
        id=f"ses_{number}", principal=_WHO, target="orders-db", protocol="postgresql", state=state,
        opened_at=_AT + timedelta(seconds=number), actions=actions, rows=2, masked=1,
    )  # fmt: skip


def _approval() -> Approval:
    return Approval(
        id="apr_1", state=ApprovalState.DENIED, principal=_WHO, target="orders-db", session_id="ses_1", text="DELETE",
        pairs=[], rules=["humans-decide"], policy_version="v", requested_at=_AT, expires_at=_AT, digest="d",
        terms=ApprovalTerms(approvers=[], hold=1, hold_in_transaction=1, expires=1, uses=1), owner_key="o",
        decided_by="dana", decided_at=_AT + timedelta(hours=2, minutes=5), comment="not\ntoday",
    )  # fmt: skip


def test_sessions_first_oldest_first_then_approvals() -> None:
    report = AttemptReport(principal=_WHO, sessions=[_session(2), _session(1)], approvals=[_approval()])
    first, second, third = report_lines(report, "https://taskgate.example/")
    assert first == (
        "Taskgate session ses_1 on orders-db: 1 statement allowed, 0 refused, 2 rows, 1 value masked. "
        "https://taskgate.example/timeline?id=ses_1"
    )
    assert "ses_2" in second
    assert third == (
        'Taskgate approval apr_1 (humans-decide): denied by dana after 2 h 5 min: "not\\ntoday". '
        "https://taskgate.example/approvals?id=apr_1"
    )


def test_an_open_session_says_so() -> None:
    report = AttemptReport(principal=_WHO, sessions=[_session(1, "open"), _session(2, "open", 0)])
    counted, not_yet = report_lines(report)
    assert counted.endswith("so far: it is still open")
    assert not_yet.endswith("still open: the dashboard shows what it does")
    assert session_link(report.sessions[0], None) is None
