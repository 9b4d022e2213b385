"""What a person reads on Airflow's page is what would run, and nothing in it can pose as something else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from taskgate.approvals.airflow_page import page_of
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

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = TaskKey("prod", "etl", "run-1", "clean", 3)
APPROVAL = Approval(
    id="apr_1",
    digest="d1gest",
    state=ApprovalState.PENDING,
    owner_key=f"task:{KEY}",
    principal=Principal(
        PrincipalKind.TASK, "etl.clean", "prod", Assurance.VERIFIED, "airflow", {}, Attempt("ti-1", KEY)
    ),
    target="orders-db",
    session_id="ses_1",
    text="DELETE FROM public.orders\nWHERE id = $1",
    pairs=("sql.delete public.orders",),
    rules=("deletes-need-a-human",),
    terms=ApprovalTerms(approvers=("group:dba",), max_rows=500, channels=("airflow",)),
    policy_version="p1",
    requested_at=NOW,
    expires_at=NOW,
    estimate={"rows": 12},
)


def test_the_page_says_what_is_decided_and_what_it_is_bound_to() -> None:
    page = page_of(APPROVAL, "https://taskgate/approvals?id=apr_1")
    assert page is not None
    assert page.subject == "Taskgate: sql.delete public.orders at orders-db"
    assert page.options == ("Approve", "Deny")
    assert (
        page.body
        == """\
Exactly this will run:

```sql
DELETE FROM public.orders
WHERE id = $1
```

Bound parameters are not shown here, and are part of what you decide: [look at them](https://taskgate/approvals?id=apr_1).

- Target: `orders-db`
- Does: `sql.delete public.orders`
- Asked by: `etl.clean, run run-1, map index 3`
- Rule: `deletes-need-a-human`
- May decide: `group:dba`
- At most: `500 rows, or it is rolled back`
- Estimated: `12 rows`
- Approval: `apr_1`
- Digest: `d1gest`"""
    )
    assert "taskgate approvals show apr_1" in (page_of(APPROVAL, None) or page).body


def test_the_same_request_reads_the_same_whoever_asks_again() -> None:
    again = replace(APPROVAL, session_id="ses_2", held=True, waits_until=NOW)
    assert page_of(again, None) == page_of(APPROVAL, None)
    assert page_of(replace(APPROVAL, digest="other"), None) != page_of(APPROVAL, None)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1\n```\n# Approved by security\n```",
        "SELECT 1 -- ``````",
        "SELECT 1\n~~~\n![x](http://evil/pixel)",
    ],
)
def test_the_text_stays_in_its_block(text: str) -> None:
    page = page_of(replace(APPROVAL, text=text), None)
    assert page is not None
    lines = page.body.splitlines()
    fence = lines[2].removesuffix("sql")
    assert set(fence) == {"`"}
    block = lines[3 : lines.index(fence, 3)]
    assert "\n".join(block) == text


def test_what_cannot_be_seen_is_spelled_out() -> None:
    hidden = replace(APPROVAL, text="DELETE\u202e FROM\u200b \u0430", pairs=("sql.delete a\u202eb`c](x)",))
    page = page_of(hidden, None)
    assert page is not None
    assert "DELETE⟦U+202E⟧ FROM⟦U+200B⟧ ⟦\u0430 U+0430⟧" in page.body
    assert "`` sql.delete a⟦U+202E⟧b`c](x) ``" in page.body
    assert "\u202e" not in page.subject + page.body


def test_it_is_no_place_for_what_it_may_not_decide_or_cannot_show() -> None:
    assert page_of(replace(APPROVAL, terms=ApprovalTerms(approvers=("group:dba",))), None) is None
    assert page_of(replace(APPROVAL, text="x" * 60_000), None) is None
    person = Principal(PrincipalKind.USER, "alice", "taskgate", Assurance.VERIFIED, "api_key")
    assert page_of(replace(APPROVAL, principal=person), None) is None
