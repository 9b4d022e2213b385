from itertools import pairwise

from taskgate.domain import Assurance, MaskKind, MaskRule, Principal
from taskgate.policy.masks import EffectiveMasks
from tests.unit.policy.builders import ORDERS, messages, policy, task, user

EMAIL = "public.customers.email"


def effective(text: str, who: Principal | None = None) -> EffectiveMasks:
    return policy(f"masks:\n{text}").masks(who or task(), ORDERS)


def test_the_strictest_wins() -> None:
    masks = effective("""
  - {id: p, targets: "*", columns: "*.email", with: partial, predicates: allow, flows: allow}
  - {id: n, targets: "*", columns: "public.customers.*", with: null, flows: allow}
  - {id: h, targets: other, columns: "*", with: redact}
""")
    assert masks.column(EMAIL) == MaskRule("n", MaskKind.NULL, predicates=False, flows=True)
    assert masks.column("public.people.email") == MaskRule("p", MaskKind.PARTIAL, predicates=True, flows=True)
    assert masks.column("public.people.name") is None
    assert not masks.empty


def test_kinds_are_ordered_by_how_much_they_hide() -> None:
    order = [MaskKind.PARTIAL, MaskKind.HASH, MaskKind.REDACT, MaskKind.NULL]
    for weaker, stricter in pairwise(order):
        text = f"""
  - {{id: a, targets: "*", columns: "*.x", with: {weaker}}}
  - {{id: b, targets: "*", columns: "*.x", with: {stricter}}}
"""
        found = effective(text).column("a.b.x")
        assert found is not None
        assert found.kind is stricter


EXEMPT = """
  - {id: m, targets: "*", columns: ["*.email", "*.ssn"], with: redact}
  - {id: f, targets: "*", detect: [email, us_ssn], with: redact}
  - {id: e, targets: "*", columns: "*.email", principals: {groups: support}, with: none}
"""


def test_an_exemption_is_for_whom_it_names_and_for_its_columns() -> None:
    support = effective(EXEMPT, user("sue", "support"))
    assert support.column(EMAIL) is None
    assert support.exempted(EMAIL)
    assert support.column("public.customers.ssn") is not None
    others = effective(EXEMPT, user("tom", "sales"))
    assert others.column(EMAIL) is not None
    assert not others.exempted(EMAIL)


def test_an_exemption_is_for_verified_principals() -> None:
    claimed = effective(EXEMPT, user("sue", "support", assurance=Assurance.ASSERTED))
    assert claimed.column(EMAIL) is not None


def test_a_mask_is_for_everybody_it_may_mean() -> None:
    text = '  - {id: m, targets: "*", columns: "*.email", principals: {run_type: manual}, with: redact}'
    assert effective(text, task(run_type="manual", assurance=Assurance.ASSERTED)).column(EMAIL) is not None
    assert effective(text, task()).column(EMAIL) is not None  # not known: masked
    assert effective(text, task(run_type="scheduled")).column(EMAIL) is None
    assert effective(text, user()).column(EMAIL) is None


def test_detectors() -> None:
    masks = effective(EXEMPT, user("tom"))
    assert masks.detectors == {
        "email": MaskRule("email", MaskKind.REDACT),
        "us_ssn": MaskRule("us_ssn", MaskKind.REDACT),
    }
    every = effective("""
  - {targets: "*", detect: "*", with: partial}
  - {targets: "*", detect: us_ssn, with: null}
  - {targets: "*", detect: email, principals: {groups: support}, with: none}
""", user("sue", "support"))  # fmt: skip
    assert {name: rule.kind for name, rule in every.detectors.items()} == {
        "credit_card": MaskKind.PARTIAL,
        "us_ssn": MaskKind.NULL,
    }


def test_nothing_to_mask_is_empty() -> None:
    assert effective("  []").empty
    assert effective('  - {targets: other, columns: "*.a", with: redact}').empty
    assert effective('  - {targets: "*", columns: "*.a", principals: {name: alice}, with: none}', user()).empty


def test_masks_are_called_by_their_place() -> None:
    text = 'masks:\n  - {targets: "*", columns: "*.a", with: redact}\n'
    assert [mask.id for mask in policy(text).all_masks] == ["masks[0]"]
    assert [mask.id for mask in policy(text, text).all_masks] == ["file0/masks[0]", "file1/masks[0]"]
    twice = "version: 1\nmasks:\n" + '  - {id: m, targets: "*", columns: "*.a", with: redact}\n' * 2
    assert messages(twice) == ['4: mask "m": id: there is already a mask of this name at policy.yaml:3']
