from __future__ import annotations

from datetime import timedelta
from typing import Any

from taskgate.client.models import Session
from taskgate.domain import ApprovalState
from taskgate_prefect.session_report import _artifact
from tests.unit.prefect.test_waiting import approval


def session(**fields: Any) -> Session:
    asked = approval()
    return Session(
        **{
            "id": "ses_1", "principal": asked.principal, "target": "Orders DB", "protocol": "postgresql",
            "state": "closed", "opened_at": asked.requested_at, "actions": 3, "refused": 1, "rows": 7, "masked": 2,
            "effects": ["sql.delete public.orders"], **fields,
        }
    )  # fmt: skip


def test_an_artifact_counts_and_names_and_shows_no_value() -> None:
    asked = approval(
        ApprovalState.APPROVED, decided_by="dana", comment="fine", url="https://taskgate.example/a",
    )  # fmt: skip
    asked = asked.model_copy(update={"decided_at": asked.requested_at + timedelta(seconds=61)})
    found = _artifact(session(), [asked], "https://taskgate.example/")
    text = found["markdown"]
    assert found["key"] == "taskgate-orders-db"
    assert "[ses_1](https://taskgate.example/timeline?id=ses_1)" in text
    for line in ("| statements | 3 |", "| refused | 1 |", "| rows | 7 |", "| values masked | 2 |"):
        assert line in text
    assert "f.t (asserted, key)" in text
    assert "approved by dana after 1 min 1 s" in text
    assert text.endswith(" ([open](<https://taskgate.example/a>))"), "an address is not escaped"
    assert "a@example.org" not in text


def test_names_cannot_break_the_table() -> None:
    text = _artifact(session(effects=["sql.delete public.a|b\n| x |[c](javascript:d)"]), [], None)["markdown"]
    row = next(line for line in text.splitlines() if line.startswith("| effects"))
    assert row == "| effects | sql.delete public.a\\|b\\\\n\\| x \\|\\[c\\](javascript:d) |"
    assert "`ses_1`" in text


def test_many_effects_are_cut_short() -> None:
    text = _artifact(
        session(effects=["sql.transaction begin", *(f"sql.select t{number}" for number in range(25))]), [], None
    )["markdown"]
    row = next(line for line in text.splitlines() if line.startswith("| effects"))
    assert row.endswith("sql.select t19 and 5 more |")
