from __future__ import annotations

import json

from taskgate_prefect import compat
from taskgate_prefect.approvals.page import ApprovalDecision, decision_form, description
from tests.unit.prefect.test_waiting import approval


def test_it_says_what_is_asked_and_where_it_is_decided() -> None:
    text = description(approval(url="https://taskgate.example/approvals?id=apr_1"))
    assert "[Decide in Taskgate](https://taskgate.example/approvals?id=apr_1)" in text
    for shown in ("orders-db", "apr_1", "humans-decide", "group:dba", "sql.delete public.orders"):
        assert f"`{shown}`" in text
    assert "a@example.org" not in text
    assert "DELETE FROM" not in text


def test_without_a_dashboard_it_names_the_command() -> None:
    assert "`taskgate approvals approve apr_1`" in description(approval())


def test_names_cannot_break_out() -> None:
    text = description(approval(pairs=["sql.delete `](javascript:x)\n# public.orders\u202e"]))
    line = next(one for one in text.splitlines() if one.startswith("- Does:"))
    assert line == "- Does: `sql.delete '](javascript:x)\\n# public.orders\\u202e`"


def test_many_effects_are_cut_short() -> None:
    text = description(approval(pairs=[f"sql.delete public.t{number}" for number in range(30)]))
    assert text.count("- Does:") == 20
    assert "- and 10 more" in text


def test_the_form_is_filled_in_and_decides_nothing() -> None:
    form = decision_form(approval())
    assert form() == form(approval_id="apr_1", decision="look again")
    assert issubclass(form, ApprovalDecision)
    schema = json.loads(json.dumps(compat.input_schema(form)))
    assert schema["properties"]["approval_id"]["default"] == "apr_1"
    assert set(schema["properties"]["decision"]["enum"]) == {"look again", "approved", "denied", "expired", "withdrawn"}
