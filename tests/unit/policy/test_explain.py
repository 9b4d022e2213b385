from taskgate.domain import Assurance, Facts, MaskKind, OutputColumn, Pair, Verdict
from taskgate.policy.explain import Stage, explain
from tests.unit.policy.builders import NOON, ORDERS, does, policy, rule, rules, task

TEXT = rules(
    rule("allow", name="matches"),
    rule("allow", name="elsewhere", targets='["x-*", y]'),
    rule("allow", name="others", principals="{kind: user}"),
    rule("allow", "sql.delete", "another-effect"),
    rule("allow", name="another-object", objects="[other.x]"),
    rule("allow", name="untrue", when="\"principal.name == 'x'\""),
    rule("allow", name="unknown", when="\"principal.bundle == 'x'\""),
    rule("deny", name="unknown-deny", when="\"principal.bundle == 'x'\""),
    rule("approve", name="unsure", principals="{bundle: etl}"),
)


def test_every_rule_says_what_became_of_it() -> None:
    found = explain(policy(TEXT), task(), ORDERS, does("sql.select public.orders"), NOON)
    assert {report.rule: (report.stage, report.why, report.refuses) for report in found.rules} == {
        "matches": (Stage.MATCHED, "", False),
        "elsewhere": (Stage.TARGET, "it is about x-*, y", False),
        "others": (Stage.PRINCIPAL, 'principal.kind is "task"', False),
        "another-effect": (Stage.EFFECT, "it is about sql.delete", False),
        "another-object": (Stage.OBJECT, "it is about other.x", False),
        "untrue": (Stage.CONDITION, "it is false", False),
        "unknown": (Stage.CONDITION, "principal.bundle is not known", False),
        "unknown-deny": (Stage.CONDITION, "principal.bundle is not known", True),
        "unsure": (Stage.PRINCIPAL, "principal.bundle is not known", True),
    }
    assert found.decision.verdict is Verdict.DENY
    assert [match.rule for match in found.decision.matches] == ["unknown-deny", "unsure"]
    assert [report.place.rpartition(":")[2] for report in found.rules if report.rule == "matches"] == ["4"]


def test_unresolved_names_are_said() -> None:
    action = does(Pair("sql.select", "orders", resolved=False))
    found = explain(policy(rules(rule("allow", name="a"))), task(), ORDERS, action, NOON)
    assert (found.rules[0].stage, found.rules[0].why) == (Stage.OBJECT, "the catalogue does not know orders")


def test_long_lists_are_cut() -> None:
    objects = "[" + ", ".join(f"s.t{n}" for n in range(20)) + "]"
    found = explain(policy(rules(rule("allow", objects=objects))), task(), ORDERS, does("sql.select a.b"), NOON)
    assert found.rules[0].why == "it is about s.t0, s.t1, s.t2, s.t3, s.t4, s.t5 and 14 more"


def test_masks_say_whether_they_apply() -> None:
    text = """masks:
  - {id: a, targets: "*", columns: "*.email", with: redact}
  - {id: b, targets: other, columns: "*.email", with: null}
  - {id: c, targets: "*", columns: "*.email", principals: {bundle: etl}, with: none}
"""
    action = does("sql.select s.t", outputs=(OutputColumn("email", frozenset({"s.t.email"})),))
    found = explain(policy(text), task(assurance=Assurance.ASSERTED), ORDERS, action, NOON)
    assert [(mask.mask, mask.applies, mask.why) for mask in found.masks] == [
        ("a", True, ""),
        ("b", False, "it is about other"),
        ("c", False, "it is about verified principals, and this one is asserted"),
    ]
    assert {name: rule.kind for name, rule in found.columns.items()} == {"s.t.email": MaskKind.REDACT}
    assert isinstance(action.facts[0], Facts)
