from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from taskgate.domain import Action, Facts, OutputColumn, Pair, Parameter
from taskgate.policy.decision import Context
from taskgate.policy.fact_names import ROOTS
from taskgate.policy.facts import FactRecord, Unknown, attribute
from tests.unit.policy.builders import NOON, ORDERS, does, task, user


def value(path: str, who: Any = None, action: Action | None = None, context: Context = NOON) -> Any:
    root, _, name = path.partition(".")
    record = FactRecord([path], who or task(), ORDERS, action or does("sql.select public.orders"), context)
    return record.values[root].get(name, "missing")


def test_a_record_can_hold_every_name() -> None:
    who = task(bundle="b", bundle_version="1", run_type="manual", triggering_user="u", deployment="d", work_pool="w",
               owner="o", tags=("t",), flow="f", queue="q", dag_version=3,
               job_variables=("env",), task_assurance="asserted")  # fmt: skip
    paths = [f"{root}.{name}" for root, names in ROOTS.items() for name in names]
    context = replace(NOON, impact={"rows": 5, "triggers": 1, "cascades": 0})
    record = FactRecord(paths, who, ORDERS, does("sql.select a.b"), context)
    assert {root: found.keys() for root, found in record.values.items()} == {
        root: names.keys() for root, names in ROOTS.items()
    }


def test_the_attempt_knows_better_than_attributes() -> None:
    who = task(dag_id="real", try_number=7)
    assert [value(f"principal.{name}", who) for name in ("dag_id", "task_id", "run_id", "try_number", "map_index")] == [
        "real", "load", "run1", 2, -1,
    ]  # fmt: skip
    assert value("principal.dag_id", user()) == "missing"


def test_an_attribute_of_another_type_is_not_known() -> None:
    assert value("principal.bundle", task(bundle=5)) == "missing"
    assert value("principal.tags", task(tags="a")) == "missing"
    with pytest.raises(Unknown):
        attribute(user("a", try_number=True), "try_number")


def test_groups_are_empty_and_not_unknown() -> None:
    assert value("principal.groups", task()) == []
    assert value("principal.groups", user("a", "dba")) == ["dba"]
    assert value("principal.attributes", user("a", "dba", team="x")) == {"groups": ["dba"], "team": "x"}


def test_where_is_asked_of_what_changes_rows() -> None:
    def has_where(*statements: Facts) -> bool:
        return value("action.has_where", action=Action("postgres", "", statements))

    select, where = Facts((Pair("sql.select", "a.b"),)), Facts((Pair("sql.delete", "a.b"),), has_where=True)
    bare = Facts((Pair("sql.update", "a.b"),))
    assert [has_where(where, select), has_where(where, bare), has_where(select)] == [True, False, False]


def test_a_tag_is_known_of_one_statement_only() -> None:
    select, delete = Facts((), tag="SELECT"), Facts((), tag="DELETE")
    assert value("action.tag", action=Action("postgres", "", (select,))) == "SELECT"
    assert value("action.tag", action=Action("postgres", "", (select, delete))) == "missing"
    assert value("action.tags", action=Action("postgres", "", (select, delete))) == ["SELECT", "DELETE"]


def test_columns_are_those_used_in_any_way() -> None:
    facts = Facts(
        (), columns_read=frozenset({"a.b.c"}), columns_outside_output=frozenset({"a.b.d"}),
        columns_flowing=frozenset({"a.b.e"}), outputs=(OutputColumn("c", frozenset({"a.b.c"})),),
    )  # fmt: skip
    assert value("action.columns", action=Action("postgres", "", (facts,))) == ["a.b.c", "a.b.d", "a.b.e"]


def test_parameters_are_texts_or_not_known_at_all() -> None:
    def parameters(*bound: Parameter) -> Any:
        return value("action.parameters", action=replace(does(), parameters=bound))

    assert parameters(Parameter(25, 0, b"x"), Parameter(23, 1, b"\0\0\0\5"), Parameter(25, 0, None)) == ["x", "5", None]
    assert parameters(Parameter(25, 0, b"x"), Parameter(1700, 1, b"\0")) == "missing"
    assert value("action.parameters", action=replace(does(), parameters=None)) == "missing"


def test_time_is_utc() -> None:
    sunday = Context(datetime(2026, 11, 22, 5, tzinfo=UTC), "::1")
    assert [value(f"context.{name}", context=sunday) for name in ("weekday", "hour", "client_address")] == [
        "sunday", 5, "::1",
    ]  # fmt: skip


def test_an_estimate_has_its_types() -> None:
    context = replace(NOON, impact={"rows": 5.0, "triggers": "many", "cascades": True, "operation": "Delete"})
    assert [value(f"impact.{name}", context=context) for name in ("rows", "triggers", "cascades")] == [
        5, "missing", "missing",
    ]  # fmt: skip
    assert value("impact.rows") == "missing"
    assert value("impact.rows", context=replace(NOON, impact={"unavailable": "why"})) == "missing"
