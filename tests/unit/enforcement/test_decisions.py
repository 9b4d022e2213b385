"""Permits: what they carry, which are kept, and that a kept one never outlives what it was decided by."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taskgate.domain import Action, Environment, OutputColumn, RecordingLevel, Verdict
from taskgate.enforcement import decisions
from taskgate.enforcement.decisions import DecisionScope, DecisionScopes
from taskgate.errors import PolicyRefusal
from taskgate.policy.effects import EFFECTS, WRITTEN_OUT
from taskgate.policy.policy_set import PolicySet
from tests.unit.policy.builders import NOON, ORDERS, does, policy, rule, rules, task, user
from tests.unit.sql.catalogs import CATALOG

KEY = b"k" * 32
READS = rules(rule("allow", objects='["public.*"]'))
WRITES = rules(rule("allow", "sql.select, sql.delete, sql.transaction"))
MASKED = READS + 'masks:\n  - {targets: "*", columns: public.users.ssn, with: redact}\n'
SELECT = does("sql.select public.users")
SSN = does(
    "sql.select public.users",
    outputs=(OutputColumn("ssn", frozenset({"public.users.ssn"})),),
    columns_read=frozenset({"public.users.ssn"}),
)


def scope(text: str) -> DecisionScope:
    return DecisionScope(task(), ORDERS, policy(text), CATALOG, KEY)


def test_an_allowed_action_is_judged_once() -> None:
    one = scope(READS)
    assert one.cached(SELECT) is None
    permit = one.judge(SELECT, NOON, "ses_1").permit
    assert one.cached(SELECT) is permit
    assert (permit.rules, permit.needs_judgement, permit.durable) == (("r",), False, False)


def test_what_no_rule_allows_is_refused_and_not_kept() -> None:
    one = scope(READS)
    drop = does("sql.drop public.users", changes=True)
    for _ in range(2):
        with pytest.raises(PolicyRefusal, match="no rule allows sql.drop public.users") as refused:
            one.judge(drop, NOON, "ses_1")
        assert one.cached(drop) is None
    assert "session=ses_1" in str(refused.value.detail)


@pytest.mark.parametrize(
    "other",
    [
        replace(SELECT, text="other"),
        replace(SELECT, shape="text"),  # the shape of other texts, not this text
        replace(SELECT, parameter_types=(25,)),
        replace(SELECT, environment=Environment(role="dba")),
        replace(SELECT, environment=Environment(search_path="audit")),
    ],
)
def test_a_permit_is_not_for_what_could_be_something_else(other: Action) -> None:
    one = scope(READS)
    one.judge(SELECT, NOON, "ses_1")
    assert one.cached(other) is None


def test_texts_of_one_shape_share_a_permit() -> None:
    one = scope(READS)
    permit = one.judge(replace(SELECT, shape="select ?"), NOON, "ses_1").permit
    assert one.cached(replace(SELECT, text="other", shape="select ?")) is permit


def test_what_depends_on_the_sessions_own_objects_is_not_kept() -> None:
    one = scope(READS)
    own = does("sql.select public.users", session_objects=True)
    one.judge(own, NOON, "ses_1")
    assert one.cached(own) is None


@pytest.mark.parametrize(
    "text",
    [
        rules(rule("approve")),
        rules(rule("allow", when='context.time < timestamp("2030-01-01T00:00:00Z")')),
        rules(rule("allow", when="impact.rows < 10")),
    ],
)
def test_what_hangs_on_a_human_a_clock_or_an_estimate_is_judged_again(text: str) -> None:
    one = scope(text)
    assert one.judge(SELECT, NOON, "ses_1").permit.needs_judgement
    kept = one.cached(SELECT)
    assert kept is not None
    assert kept.needs_judgement


def test_an_open_question_is_a_refusal_once_it_executes() -> None:
    """Parameters are bound and the condition still cannot say: the verdict stays DENY."""
    one = scope(rules(rule("allow", when='action.parameters[0] == "x"')))
    parsed = replace(SELECT, parameters=None, parameter_types=(25,), executes=False)
    assert one.judge(parsed, NOON, "ses_1").permit.needs_judgement
    with pytest.raises(PolicyRefusal):
        one.judge(replace(parsed, executes=True), NOON, "ses_1")


def test_the_permit_says_how() -> None:
    one = scope(rules(rule("allow", "sql.delete", record="results")))
    permit = one.judge(does("sql.delete public.orders", changes=True), NOON, "ses_1").permit
    assert (permit.recording, permit.durable, permit.read_only) == (RecordingLevel.RESULTS, True, False)


def test_masks_are_planned_with_the_permit() -> None:
    permit = scope(MASKED).judge(SSN, NOON, "ses_1").permit
    assert permit.masked
    assert permit.masks[0].positions is not None
    assert permit.masks[0].touched


def test_a_masked_column_where_no_mask_hides_it_is_refused_and_not_kept() -> None:
    one = scope(MASKED)
    searched = does("sql.select public.users", columns_outside_output=frozenset({"public.users.ssn"}))
    with pytest.raises(PolicyRefusal, match="ssn"):
        one.judge(searched, NOON, "ses_1")
    assert one.cached(searched) is None


def test_whoever_may_only_read_cannot_lift_it() -> None:
    one = scope(rules(rule("allow"), rule("allow", "sql.transaction", "t")))
    assert one.read_only
    one.judge(does("sql.transaction begin"), NOON, "ses_1")
    with pytest.raises(PolicyRefusal, match="only reads"):
        one.judge(does("sql.transaction begin read write"), NOON, "ses_1")
    writer = scope(WRITES)
    assert not writer.read_only
    writer.judge(does("sql.transaction begin read write"), NOON, "ses_1")


def test_what_is_refused_before_its_masks_are_planned_is_recorded_with_care() -> None:
    assert scope(MASKED).cautious_masks[0].touched
    unmasked = scope(READS)
    assert unmasked.cautious_masks == (unmasked.baseline,)


def test_the_cache_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "_MOST_PERMITS", 8)
    one = scope(READS)
    actions = [replace(SELECT, text=f"text {number}") for number in range(50)]
    for action in actions:
        one.judge(action, NOON, "ses_1")
        assert one.cached(action) is not None
    assert sum(one.cached(action) is not None for action in actions) <= 8


def current(scopes: DecisionScopes, rules_: PolicySet, catalog: object = CATALOG) -> DecisionScope:
    return scopes.current(task(), ORDERS, rules_, catalog)  # type: ignore[arg-type]


def test_equal_principals_share_a_scope_and_others_do_not() -> None:
    scopes, rules_ = DecisionScopes(KEY), policy(READS)
    one = current(scopes, rules_)
    assert current(scopes, rules_) is one
    for who, where in (
        (task(owner="mallory"), ORDERS),
        (task(dag_id="other"), ORDERS),
        (user(), ORDERS),
        (task(), replace(ORDERS, name="other-db")),
    ):
        assert scopes.current(who, where, rules_, CATALOG) is not one
    assert current(scopes, rules_) is one


def test_a_new_policy_or_catalogue_forgets_every_permit() -> None:
    scopes, rules_ = DecisionScopes(KEY), policy(READS)
    current(scopes, rules_).judge(SELECT, NOON, "ses_1")
    same_text = policy(READS)
    assert current(scopes, same_text).cached(SELECT) is None
    current(scopes, same_text).judge(SELECT, NOON, "ses_1")
    assert current(scopes, same_text, replace(CATALOG, version=2)).cached(SELECT) is None


def test_only_so_many_scopes_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "_MOST_SCOPES", 2)
    scopes, rules_ = DecisionScopes(KEY), policy(READS)
    one = current(scopes, rules_)
    for owner in ("alice", "bob"):
        scopes.current(task(owner=owner), ORDERS, rules_, CATALOG)
    assert current(scopes, rules_) is not one
    assert len(scopes._scopes) <= 2


EVERYTHING = rules(rule("allow", ", ".join(sorted(EFFECTS - WRITTEN_OUT)), objects='["*"]'))


def confined(text: str = EVERYTHING) -> DecisionScope:
    return DecisionScope(task(), ORDERS, policy(text), CATALOG, KEY, confined=True)


def test_an_attempt_that_is_over_may_only_read_whatever_rules_say() -> None:
    one = confined()
    assert one.read_only
    for _ in range(2):
        one.judge(SELECT, NOON, "ses_1")
        assert one.cached(SELECT) is not None
    for pair in (
        "sql.insert",
        "sql.update",
        "sql.delete",
        "sql.call",
        "sql.unknown",
        "sql.copy_in",
        "sql.ddl",
        "sql.do",
    ):
        action = replace(does(f"{pair} public.users", "sql.select public.users"), text=pair)
        with pytest.raises(PolicyRefusal, match="the task attempt is over, and its callbacks may only read"):
            one.judge(action, NOON, "ses_1")
        assert one.cached(action) is None
    with pytest.raises(PolicyRefusal, match="may only read"):
        one.judge(does("sql.select public.users", changes=True), NOON, "ses_1")


def test_nobody_is_asked_for_an_attempt_that_is_over() -> None:
    asking = rules(rule("approve", objects='["public.*"]'))
    assert scope(asking).judge(SELECT, NOON, "ses_1").permit.needs_judgement
    with pytest.raises(PolicyRefusal, match="may only read"):
        confined(asking).judge(SELECT, NOON, "ses_1")


def test_an_attempt_that_is_over_shares_no_scope_with_those_that_run() -> None:
    scopes, rules_ = DecisionScopes(KEY), policy(READS)
    one = current(scopes, rules_)
    other = scopes.current(task(), ORDERS, rules_, CATALOG, confined=True)
    assert other is not one
    assert current(scopes, rules_) is one
    assert scopes.current(task(), ORDERS, rules_, CATALOG, confined=True) is other


def test_the_verdict_comes_with_the_permit() -> None:
    judged = scope(rules(rule("approve", approval='{from: "group:dba", max_rows: 5}'))).judge(SELECT, NOON, "ses_1")
    assert judged.decision.verdict is Verdict.APPROVE
    assert judged.permit.row_bound == 5
    assert judged.permit.approval_id is None, "a grant is used later, and only by its owner"


def asking(text: str = EVERYTHING) -> DecisionScope:
    return DecisionScope(task(), ORDERS, policy(text), CATALOG, KEY, asks=True)


def test_a_session_that_only_asks_reads_and_changes_nothing() -> None:
    one = asking()
    assert one.read_only
    assert not one.judge(SELECT, NOON, "ses_1").permit.needs_judgement
    delete = does("sql.delete public.users", changes=True)
    for _ in range(2):
        with pytest.raises(PolicyRefusal, match="no human is needed for this") as refused:
            one.judge(delete, NOON, "ses_1")
        assert (refused.value.detail or "").startswith("verdict=allow\n")
    prepared = one.judge(replace(delete, executes=False), NOON, "ses_1").permit
    assert prepared.needs_judgement, "it may be described, and is judged once more before it runs"
    call = replace(does("sql.call public.f"), text="select f()")
    with pytest.raises(PolicyRefusal, match="no human is needed for this"):
        asking(rules(rule("allow", "sql.call", objects='["public.f"]'))).judge(call, NOON, "ses_1")


def test_a_session_that_only_asks_is_refused_what_any_other_is() -> None:
    with pytest.raises(PolicyRefusal, match="no rule allows"):
        asking(READS).judge(does("sql.delete public.users", changes=True), NOON, "ses_1")
    approve = rules(rule("approve", objects='["public.*"]'))
    assert asking(approve).judge(SELECT, NOON, "ses_1").decision.verdict is Verdict.APPROVE


def test_a_session_that_only_asks_shares_no_permit_with_those_that_run() -> None:
    scopes, rules_ = DecisionScopes(KEY), policy(EVERYTHING)
    other = scopes.current(task(), ORDERS, rules_, CATALOG, asks=True)
    assert other is not current(scopes, rules_)
    assert scopes.current(task(), ORDERS, rules_, CATALOG, asks=True) is other
