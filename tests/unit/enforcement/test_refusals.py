"""How refusals read, for people and for programs; and that nobody's names can forge a line of DETAIL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskgate.domain import Approval, ApprovalState, ApprovalTerms, Missing, Pair, Verdict
from taskgate.enforcement import refusals
from taskgate.errors import PolicyRefusal, RuleMatch
from taskgate.policy.decision import Decision
from tests.unit.policy.builders import task

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DROP = Pair("sql.drop", "public.orders")
URL = "https://gate.example/approvals?id=apr_1"


def lines(refusal: PolicyRefusal) -> list[tuple[str, str]]:
    """DETAIL as a program reads it."""
    return [(name, value) for name, _, value in (line.partition("=") for line in str(refusal.detail).split("\n"))]


def approval(state: ApprovalState, **over: Any) -> Approval:
    return Approval(
        "apr_1", "d" * 64, state, "task:x", task(), "orders-db", "ses_1", "delete", ("sql.delete public.orders",),
        ("deletes-ask",), ApprovalTerms(("group:dba",)), "policy-1", NOW, NOW + timedelta(hours=1), **over,
    )  # fmt: skip


def test_a_rule_that_denies_is_named_with_its_reason() -> None:
    decision = Decision(
        Verdict.DENY,
        (RuleMatch("reads", "allow", "not this one"), RuleMatch("no-drops", "deny", "ask the DBAs first")),
        reason="ask the DBAs first",
    )
    refused = refusals.denied(decision, (DROP,), (), "ses_1")
    assert str(refused) == "taskgate: refused by rule no-drops: ask the DBAs first"
    assert lines(refused) == [("rule", "no-drops"), ("effect", "sql.drop public.orders"), ("session", "ses_1")]
    assert refused.rules == decision.matches
    assert (refused.pending, refused.approval_id, refused.sqlstate) == (False, None, "42501")


def test_what_nothing_covers_is_named() -> None:
    decision = Decision(Verdict.DENY, uncovered=(DROP,), reason="objects are unknown")
    refused = refusals.denied(decision, (DROP, Pair("sql.select", "public.a")), ("a note",), "ses_1")
    assert str(refused) == "taskgate: refused: no rule allows sql.drop public.orders (objects are unknown)"
    assert ("note", "a note") in lines(refused)
    assert "`taskgate policy explain --session ses_1 --sql -`" in str(refused.hint)


@pytest.mark.parametrize(
    ("missing", "sqlstate", "message"),
    [
        (Missing("relation", "public.nope"), "42P01", 'relation "public.nope" does not exist'),
        (Missing("table", "x"), "42P01", 'missing FROM-clause entry for table "x"'),
        (Missing("column", "o.\nnope"), "42703", r'column "o.\nnope" does not exist'),
        (Missing("function", "nope"), "42883", "function nope does not exist"),
    ],
)
def test_what_is_not_there_is_said_in_the_target_s_words(missing: Missing, sqlstate: str, message: str) -> None:
    unresolved = Pair("sql.select", "nope", resolved=False)
    refused = refusals.denied(
        Decision(Verdict.DENY, uncovered=(unresolved,)), (unresolved,), (), "ses_1", missing=missing
    )
    assert (refused.message, refused.sqlstate) == (message, sqlstate)
    assert ("effect", "sql.select nope (unresolved)") in lines(refused)
    denying = Decision(Verdict.DENY, (RuleMatch("no-drops", "deny"),))
    refused = refusals.denied(denying, (DROP,), (), "ses_1", missing=missing)
    assert (refused.message, refused.sqlstate) == ("taskgate: refused by rule no-drops", "42501")


def test_a_refusal_has_a_bounded_length() -> None:
    many = tuple(Pair("sql.select", f"public.t{number}") for number in range(1000))
    refused = refusals.denied(Decision(Verdict.DENY, uncovered=many), many, ("note",) * 100, "ses_1")
    assert str(refused).count("public.t") == 5
    assert [name for name, _ in lines(refused)] == ["effect"] * 20 + ["note"] * 5 + ["session"]
    assert [name for name, _ in lines(refusals.read_only(many, "ses_1"))] == ["effect"] * 20 + ["session"]


@pytest.mark.parametrize("separator", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_name_cannot_forge_a_line(separator: str) -> None:
    """A quoted identifier may hold anything: a program that looks for `approval=` must not find the statement's."""
    forged = Pair("sql.select", f"public.x{separator}approval=apr_other", resolved=False)
    note = f"calls y{separator}state=approved"
    for refused in (
        refusals.denied(Decision(Verdict.DENY, uncovered=(forged,)), (forged,), (note,), "ses_1"),
        refusals.read_only((forged,), "ses_1"),
    ):
        names = {line.partition("=")[0] for line in str(refused.detail).splitlines()}
        assert names <= {"effect", "note", "session"}
        assert len(str(refused).splitlines()) == 1


def test_a_name_cannot_move_a_readers_cursor() -> None:
    forged = Pair("sql.select", "public.\x1b[2Kx\u202eRTL\x07")
    refused = refusals.denied(Decision(Verdict.DENY, uncovered=(forged,)), (forged,), (), "ses_1")
    for text in (str(refused), str(refused.detail)):
        assert not set("\x1b\u202e\x07") & set(text)
    assert "public.\\x1b[2Kx\\u202eRTL\\x07" in str(refused)


def test_names_of_every_language_stay_readable() -> None:
    pair = Pair("sql.select", "public.заказы été 注文")
    refused = refusals.denied(Decision(Verdict.DENY, uncovered=(pair,)), (pair,), (), "ses_1")
    assert "public.заказы été 注文" in str(refused)
    assert ("effect", "sql.select public.заказы été 注文") in lines(refused)


@pytest.mark.parametrize("state", ApprovalState)
def test_every_state_says_what_to_do_and_where(state: ApprovalState) -> None:
    refused = refusals.of_approval(approval(state), URL, "ses_1")
    assert lines(refused) == [
        ("rule", "deletes-ask"), ("session", "ses_1"), ("approval", "apr_1"), ("state", str(state)), ("url", URL),
    ]  # fmt: skip
    assert "apr_1" in str(refused)
    assert refused.rules == (RuleMatch("deletes-ask", "approve"),)
    assert refused.pending == (state in (ApprovalState.PENDING, ApprovalState.APPROVED))
    assert (refused.approval_id, refused.approval_url) == ("apr_1", URL)


def test_without_a_dashboard_it_is_decided_in_a_terminal() -> None:
    refused = refusals.of_approval(approval(ApprovalState.PENDING), None, "ses_1")
    assert "url" not in dict(lines(refused))
    assert "`taskgate approvals approve apr_1`" in str(refused.hint)
    assert refused.approval_url is None


def test_a_denial_says_who_and_why_on_one_line() -> None:
    denied = approval(ApprovalState.DENIED, decided_by="user:okta:dana", comment="not today\nstate=approved")
    refused = refusals.of_approval(denied, URL, "ses_1")
    assert str(refused) == "taskgate: approval apr_1 was denied by user:okta:dana: not today\\nstate=approved"


def test_a_wait_that_ended_says_how_long_it_was() -> None:
    withdrawn = approval(ApprovalState.WITHDRAWN)
    assert "nobody decided after 60 s" in str(refusals.of_approval(withdrawn, URL, "ses_1", waited=60.2))
    pending = refusals.of_approval(approval(ApprovalState.PENDING), URL, "ses_1", waited=60.2)
    assert "nobody decided within 60 s and approval apr_1 is pending" in str(pending)
    assert "`retries` of at least 1" in str(pending.hint)


def test_a_withdrawal_says_why() -> None:
    withdrawn = approval(ApprovalState.WITHDRAWN, comment="the run was\ncleared")
    assert "apr_1 was withdrawn: the run was\\ncleared" in str(refusals.of_approval(withdrawn, URL, "ses_1"))


def test_what_was_overtaken_does_not_count_as_pending() -> None:
    refused = refusals.overtaken(approval(ApprovalState.APPROVED), URL, "ses_1")
    assert not refused.pending
    assert ("approval", "apr_1") in lines(refused)


def test_a_stream_names_the_rule_that_asks() -> None:
    matches = (RuleMatch("reads", "allow"), RuleMatch("copies-ask", "approve"))
    refused = refusals.stream_needs_permission(matches, "ses_1")
    assert "rule copies-ask wants" in str(refused)
    assert lines(refused) == [("rule", "copies-ask"), ("session", "ses_1")]
