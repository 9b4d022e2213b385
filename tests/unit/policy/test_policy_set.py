"""What has to hold of every policy, whatever is in it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.domain import Action, Assurance, Facts, Pair, Principal, Verdict
from taskgate.policy.explain import Stage, explain
from tests.unit.policy.builders import NOON, ORDERS, decide, does, policy, rule, rules, task, user

EFFECTS = ("sql.select", "sql.delete", "sql.call", "sql.unknown")
OBJECTS = ("public.a", "public.b", "other.a")

_globs = st.sampled_from(["public.a", "public.*", '"*"', "other.a", '"*.a"'])
_effects = st.sampled_from(["sql.select", '"sql.*"', "sql.delete, sql.select", "sql.call, sql.unknown"])
_principals = st.sampled_from(
    ["{}", "{kind: task}", "{kind: user}", "{bundle: etl}", "{assurance: any}", "{assurance: [asserted]}"]
)
_conditions = st.sampled_from(
    [
        None,
        '"true"',
        '"false"',
        "\"principal.bundle == 'etl'\"",
        '"10 / (action.statement_count - 2) != 0"',
        "\"action.parameters[0] == 'x'\"",
        '"impact.rows < 5"',
    ]
)


@st.composite
def entries(draw: st.DrawFn, verdicts: tuple[str, ...] = ("allow", "deny", "approve")) -> dict[str, str]:
    verdict = draw(st.sampled_from(verdicts))
    found = {"verdict": verdict, "effects": draw(_effects), "principals": draw(_principals)}
    # An allow of sql.call has to name functions.
    objects = draw(st.none() | _globs)
    if verdict == "allow" and "sql.call" in found["effects"]:
        objects = draw(st.sampled_from(["public.a", "public.*"]))
    if objects is not None:
        found["objects"] = f"[{objects}]"
    when = draw(_conditions)
    if when is not None:
        found["when"] = when
    if verdict == "approve":
        found["approval"] = draw(st.sampled_from(['{from: "group:dba"}', '{from: ["group:dba", "user:eve"]}']))
    return found


def named(found: list[dict[str, str]]) -> list[str]:
    return [
        rule(
            entry["verdict"],
            entry["effects"],
            f"r{number}",
            **{k: v for k, v in entry.items() if k not in ("verdict", "effects")},
        )
        for number, entry in enumerate(found)
    ]


_pairs = st.builds(Pair, st.sampled_from(EFFECTS), st.sampled_from(OBJECTS), st.sampled_from([True, True, False]))
_facts = st.builds(
    Facts,
    pairs=st.lists(_pairs, max_size=3, unique=True).map(tuple),
    complete=st.booleans(),
    notes=st.sampled_from([(), ("one",), ("one", "two")]),
)
_actions = st.builds(
    Action,
    protocol=st.just("postgres"),
    text=st.just(""),
    facts=st.lists(_facts, max_size=2).map(tuple),
    parameters=st.sampled_from([None, ()]),
)
_who = st.sampled_from(
    [task(bundle="etl"), task(), task(bundle="etl", assurance=Assurance.ASSERTED), user(), task(bundle="other")]
)
_RANK = {Verdict.DENY: 0, Verdict.APPROVE: 1, Verdict.ALLOW: 2}


@settings(max_examples=60, deadline=None)
@given(st.lists(entries(), max_size=4), entries(("deny",)), _actions, _who)
def test_one_more_denial_never_permits_more(
    found: list[dict[str, str]], denial: dict[str, str], action: Action, who: Principal
) -> None:
    before = decide(policy(rules(*named(found)) if found else ""), action, who)
    after = decide(policy(rules(*named([*found, denial]))), action, who)
    assert _RANK[after.verdict] <= _RANK[before.verdict]


@settings(max_examples=60, deadline=None)
@given(st.lists(entries(), max_size=4), entries(("approve",)), _actions, _who)
def test_one_more_approval_never_makes_an_allow_of_anything(
    found: list[dict[str, str]], approval: dict[str, str], action: Action, who: Principal
) -> None:
    before = decide(policy(rules(*named(found)) if found else ""), action, who)
    after = decide(policy(rules(*named([*found, approval]))), action, who)
    assert after.verdict is not Verdict.ALLOW or before.verdict is Verdict.ALLOW


@settings(max_examples=60, deadline=None)
@given(st.lists(entries(), min_size=1, max_size=5), st.randoms(use_true_random=False), _actions, _who)
def test_the_order_of_rules_and_files_never_matters(
    found: list[dict[str, str]], random: object, action: Action, who: Principal
) -> None:
    texts = named(found)
    shuffled = list(texts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    middle = len(shuffled) // 2
    parts = [rules(*part) for part in (shuffled[middle:], shuffled[:middle]) if part]
    assert decide(policy(rules(*texts)), action, who) == decide(policy(*parts), action, who)


@settings(max_examples=80, deadline=None)
@given(st.lists(entries(), max_size=5), _actions, _who)
def test_what_is_uncovered_is_denied_and_the_index_agrees_with_every_rule_on_its_own(
    found: list[dict[str, str]], action: Action, who: Principal
) -> None:
    loaded = policy(rules(*named(found)) if found else "")
    explanation = explain(loaded, who, ORDERS, action, NOON)
    decision = explanation.decision
    granting = [report for report in explanation.rules if report.matched and report.verdict is not Verdict.DENY]
    covered = {pair for report in granting for pair in report.pairs}
    refusing = {
        report.rule for report in explanation.rules
        if report.refuses or (report.matched and report.verdict is Verdict.DENY)
    }  # fmt: skip
    if refusing:
        assert decision.verdict is Verdict.DENY
        assert {match.rule for match in decision.matches} == refusing
    elif not set(explanation.pairs) <= covered:
        assert decision.verdict is Verdict.DENY
    elif not any("yet" in report.why for report in explanation.rules if report.stage is Stage.CONDITION):
        asks = any(report.verdict is Verdict.APPROVE for report in granting)
        assert decision.verdict is (Verdict.APPROVE if asks else Verdict.ALLOW)
        assert {match.rule for match in decision.matches} == {report.rule for report in granting}


READS = "sql.select, sql.explain, sql.copy_out, sql.listen"


@pytest.mark.parametrize(
    ("entries", "reads_only"),
    [
        ([], True),
        ([rule("allow", READS)], True),
        ([rule("allow", "sql.insert")], False),
        ([rule("approve", "sql.delete")], False),
        ([rule("allow", '"sql.*"')], False),
        ([rule("deny", '"sql.*"')], True),
        ([rule("allow", "sql.insert", principals="{kind: user}")], True),
        ([rule("allow", "sql.insert", targets="other")], True),
        ([rule("allow", "sql.insert", when='"false"')], False),
        ([rule("allow", "sql.call, sql.unknown", objects="[public.f]")], False),
    ],
)
def test_reads_only(entries: list[str], reads_only: bool) -> None:
    text = rules(*entries) if entries else ""
    assert policy(text, builtin=True).reads_only(task(), ORDERS) is reads_only


def test_grants_anything_looks_past_what_everybody_may() -> None:
    assert not policy("", builtin=True).grants_anything(task(), ORDERS)
    assert not policy(rules(rule("deny")), builtin=True).grants_anything(task(), ORDERS)
    assert not policy(rules(rule("allow", principals="{kind: user}"))).grants_anything(task(), ORDERS)
    assert policy(rules(rule("approve", "sql.delete"))).grants_anything(task(), ORDERS)


def test_the_version_is_that_of_the_texts() -> None:
    one, two = rules(rule("allow", name="a")), rules(rule("deny", name="d"))
    assert policy(one, two).version == policy(one, two).version
    assert policy(one).version != policy(one, builtin=True).version
    assert policy(one).version != policy(one + "# remark\n").version
    loaded = policy(one, builtin=True)
    assert sorted(name.rpartition("/")[2] for name in loaded.sources) == ["builtin.yaml", "file0.yaml"]
    assert len(loaded.version) == 64


def test_what_is_remembered_of_principals_is_bounded() -> None:
    loaded = policy(rules(rule("allow", principals="{bundle: b7}")))
    verdicts = [loaded.decide(task(bundle=f"b{n}"), ORDERS, does("sql.select x.y"), NOON).verdict for n in range(3000)]
    assert verdicts.count(Verdict.ALLOW) == 1
    assert len(loaded._fits) <= 1024
