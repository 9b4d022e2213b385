from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest

from taskgate.domain import Facts, MaskKind, MaskRule, OutputColumn, Pair
from taskgate.errors import MaskingFault, PolicyRefusal
from taskgate.masking.plan import WITHHELD, MaskedColumns, MaskPlan, plan

SSN, EMAIL, NAME = "public.customers.ssn", "public.customers.email", "public.customers.name"
CHILD, VIEW = "public.customers_2024.ssn", "public.shown.number"
REDACT = MaskRule("masks[0]", MaskKind.REDACT)
PARTIAL = MaskRule("masks[1]", MaskKind.PARTIAL)
DETECT = MaskRule("email", MaskKind.REDACT)


@dataclass
class Masks:
    columns: dict[str, MaskRule] = field(default_factory=dict)
    detectors: Mapping[str, MaskRule] = field(default_factory=dict)
    exempt: frozenset[str] = frozenset()

    @property
    def empty(self) -> bool:
        return not self.columns and not self.detectors

    def column(self, name: str) -> MaskRule | None:
        return self.columns.get(name)

    def exempted(self, name: str) -> bool:
        return name in self.exempt


class Catalogue:
    origins: ClassVar[dict[str, tuple[int, int]]] = {
        SSN: (1, 1),
        EMAIL: (1, 2),
        NAME: (1, 3),
        CHILD: (2, 1),
        VIEW: (3, 1),
    }

    @property
    def column_names(self) -> frozenset[str]:
        return frozenset(self.origins)

    def origin(self, column: str) -> tuple[int, int] | None:
        return self.origins.get(column)

    def closure(self, columns: Iterable[str]) -> Iterable[str]:
        return frozenset(columns) | ({CHILD, VIEW} if SSN in columns else frozenset())


def masked(
    columns: dict[str, MaskRule] | None = None,
    detectors: Mapping[str, MaskRule] | None = None,
    exempt: Iterable[str] = (),
) -> MaskedColumns:
    return MaskedColumns(Masks(columns or {}, detectors or {}, frozenset(exempt)), Catalogue(), b"key")


def select(*outputs: OutputColumn, outside: Iterable[str] = (), read: Iterable[str] = ()) -> Facts:
    sources = frozenset().union(*(output.sources for output in outputs))
    return Facts(
        pairs=(Pair("sql.select", "public.customers"),),
        returns_rows=True,
        outputs=outputs,
        columns_read=sources | frozenset(outside) | frozenset(read),
        columns_outside_output=frozenset(outside),
    )


def column(name: str, *, bare: bool = True) -> OutputColumn:
    return OutputColumn(name.rpartition(".")[2], frozenset({name}), bare)


def test_nothing_masked_is_inactive() -> None:
    assert plan(select(column(SSN)), masked()).active is False
    assert masked().baseline.active is False


def test_positions_follow_the_sources() -> None:
    made = plan(select(column(NAME), column(SSN)), masked({SSN: REDACT}))
    assert made.positions == (None, REDACT)
    assert made.active
    assert made.touched


def test_the_strictest_mask_of_all_sources_counts() -> None:
    both = OutputColumn("either", frozenset({SSN, EMAIL, NAME}))
    assert plan(select(both), masked({SSN: PARTIAL, EMAIL: REDACT})).positions == (REDACT,)


def test_partitions_and_views_carry_the_mask() -> None:
    columns = masked({SSN: REDACT})
    assert set(columns.origins) == {(1, 1), (2, 1), (3, 1)}
    assert plan(select(column(CHILD), column(VIEW)), columns).positions == (REDACT, REDACT)


def test_a_view_is_no_way_around_what_its_column_forbids() -> None:
    """The view's own mask allows predicates, the column's below it does not: same strictness, both have a say."""
    loose = MaskRule("masks[7]", MaskKind.REDACT, predicates=True, flows=True)
    for columns in ({SSN: REDACT, VIEW: loose}, {VIEW: loose, SSN: REDACT}):
        with pytest.raises(PolicyRefusal):
            plan(select(column(NAME), outside={VIEW}), masked(columns))


def test_a_column_that_the_catalogue_does_not_know_is_matched_as_written() -> None:
    assert plan(select(column("stage.new.ssn")), masked({"stage.new.ssn": REDACT})).positions == (REDACT,)


def test_an_untouched_statement_keeps_the_net_below() -> None:
    made = plan(select(column(NAME)), masked({SSN: REDACT}))
    assert made.positions == (None,)
    assert made.active
    assert not made.touched
    assert made.column_rules([("name", (1, 1))]) == [REDACT]


def test_a_statement_without_rows_on_other_relations_is_inactive() -> None:
    facts = Facts(pairs=(Pair("sql.set", "work_mem"),))
    assert not plan(facts, masked({SSN: REDACT})).active


@pytest.mark.parametrize("bare", [True, False])
def test_outside_the_output_list_is_refused(bare: bool) -> None:
    facts = select(column(NAME), outside={SSN}) if bare else select(column(SSN, bare=False))
    with pytest.raises(PolicyRefusal) as refusal:
        plan(facts, masked({SSN: REDACT}))
    assert SSN in refusal.value.message
    assert "masks[0]" in refusal.value.message
    assert refusal.value.rules[0].rule == "masks[0]"
    assert "predicates: allow" in (refusal.value.hint or "")


def test_predicates_may_be_allowed() -> None:
    rule = MaskRule("masks[0]", MaskKind.PARTIAL, predicates=True)
    made = plan(select(column(NAME), column(SSN, bare=False), outside={SSN}), masked({SSN: rule}))
    assert made.positions is not None
    assert made.positions[0] is None
    assert made.positions[1] is not None
    assert made.positions[1].kind is MaskKind.REDACT, "part of a derived value would give the value away"


def test_flows_are_refused_unless_allowed() -> None:
    facts = Facts(
        pairs=(Pair("sql.insert", "public.copy"),), columns_read=frozenset({SSN}), columns_flowing=frozenset({SSN})
    )
    with pytest.raises(PolicyRefusal, match="written into a relation") as refusal:
        plan(facts, masked({SSN: REDACT}))
    assert "flows: allow" in (refusal.value.hint or "")
    assert plan(facts, masked({SSN: MaskRule("m", MaskKind.REDACT, flows=True)})).touched


def test_unknown_outputs_are_masked_whole_where_a_masked_column_is_read() -> None:
    facts = Facts(pairs=(Pair("sql.unknown"),), outputs=None, returns_rows=True, columns_read=frozenset({SSN}))
    made = plan(facts, masked({SSN: PARTIAL}))
    assert made.positions is None
    rules = made.column_rules([("a", None), ("b", (9, 9))])
    assert [rule and (rule.id, rule.kind) for rule in rules] == [("masks[1]", MaskKind.REDACT)] * 2


def test_explain_is_masked_whole_where_a_masked_column_is_read() -> None:
    facts = Facts(
        pairs=(Pair("sql.explain"), Pair("sql.select", "public.customers")),
        returns_rows=True,
        columns_read=frozenset({SSN}),
    )
    assert plan(facts, masked({SSN: REDACT})).column_rules([("QUERY PLAN", None)]) == [REDACT]


def test_a_write_to_a_relation_with_masked_columns_withholds_texts() -> None:
    """`Failing row contains (…)` quotes columns that the statement does not read."""
    facts = Facts(pairs=(Pair("sql.update", "public.customers"),), columns_read=frozenset({NAME}))
    made = plan(facts, masked({SSN: REDACT}))
    assert made.scrub("Failing row contains (5, 123-45-6789).") == WITHHELD
    assert plan(facts, masked({"public.orders.card": REDACT})).touched is False


def test_an_incomplete_statement_withholds_texts() -> None:
    facts = Facts(pairs=(Pair("sql.call", "public.f"),), complete=False)
    assert plan(facts, masked({SSN: REDACT})).scrub("ssn is 123-45-6789") == WITHHELD


def test_detectors_clean_texts_of_untouched_statements() -> None:
    made = plan(Facts(pairs=(Pair("sql.insert", "public.orders"),)), masked(detectors={"email": DETECT}))
    assert made.active
    assert made.scrub('invalid input: "bob@example.com"') == 'invalid input: "[redacted]"'
    assert made.scrub("relation does not exist") == "relation does not exist"
    assert made.scrub("") == ""


def test_baseline_is_detectors_only() -> None:
    baseline = masked({SSN: REDACT}, {"email": DETECT}).baseline
    assert baseline.scrub("bob@example.com left") == "[redacted] left"
    assert baseline.origins == {}


def test_another_number_of_columns_than_planned_is_a_fault() -> None:
    made = plan(select(column(SSN)), masked({SSN: REDACT}))
    with pytest.raises(MaskingFault):
        made.column_rules([("ssn", (1, 1)), ("more", None)])


def test_what_is_no_plain_column_is_never_shown_in_part() -> None:
    made = plan(select(column(SSN)), masked({SSN: PARTIAL}))
    assert made.column_rules([("ssn", (1, 1))]) == [PARTIAL]
    (rule,) = made.column_rules([("left", None)])
    assert rule is not None
    assert rule.kind is MaskKind.REDACT


def test_passport_goes_by_the_columns_name() -> None:
    made = MaskPlan(True, detectors={"passport": MaskRule("passport", MaskKind.NULL)})
    rules = made.column_rules([("Passport_No", (7, 1)), ("name", (7, 2))])
    assert [rule and rule.id for rule in rules] == ["passport", None]


def test_no_key_in_the_plans_repr() -> None:
    assert repr(b"key") not in repr(MaskPlan(True, hash_key=b"key"))


# --- what policy exempts by name is left alone by the detectors too ---------------------------------------------------


def test_detectors_spare_what_policy_exempts_by_name() -> None:
    made = plan(select(column(EMAIL), column(NAME)), masked(detectors={"email": DETECT}, exempt={EMAIL}))
    assert made.active
    assert made.spared_columns([(1, 2), (1, 3)]) == (True, False)
    assert made.spared_columns([None, None]) == (True, False)
    assert made.spared_columns([(1, 3), (1, 2)]) == (False, False), "the server says otherwise"


def test_an_exemption_reaches_through_a_view_only_where_all_of_it_is_exempted() -> None:
    through = OutputColumn("number", frozenset({VIEW, SSN}))
    for exempt, spared in (({VIEW}, False), ({SSN}, False), ({VIEW, SSN}, True)):
        made = plan(select(through), masked(detectors={"us_ssn": DETECT}, exempt=exempt))
        assert made.spared_columns([None]) == (spared,)
        assert made.spared_columns([(3, 1)]) == (spared,)


def test_only_what_is_wholly_understood_is_spared() -> None:
    columns = masked(detectors={"email": DETECT}, exempt={EMAIL})
    assert plan(select(column(EMAIL, bare=False)), columns).spared_columns([None]) == (False,)
    assert plan(select(OutputColumn("word")), columns).spared_columns([None]) == (False,), "a constant is no column"
    mixed = OutputColumn("either", frozenset({EMAIL, NAME}))
    assert plan(select(mixed), columns).spared_columns([None]) == (False,)
    unsure = replace(select(column(EMAIL)), complete=False)
    assert plan(unsure, columns).spared_columns([(1, 2)]) == (False,)
    unknown = Facts(pairs=(Pair("sql.select", "public.customers"),), returns_rows=True, outputs=None)
    assert plan(unknown, columns).spared_columns([(1, 2), (1, 3), None]) == (True, False, False)


def test_an_exempted_column_keeps_its_name() -> None:
    detectors = {"passport": MaskRule("passport", MaskKind.REDACT)}
    made = plan(select(column(NAME)), masked(detectors=detectors, exempt={NAME}))
    assert made.column_rules([("passport_no", (1, 3))]) == [None]


def test_texts_are_searched_whatever_is_exempted() -> None:
    made = plan(select(column(EMAIL)), masked(detectors={"email": DETECT}, exempt={EMAIL}))
    assert made.scrub("bob@example.com left") == "[redacted] left"
