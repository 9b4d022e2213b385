"""Lineage of queries: clauses, stars, set operations, locks."""

# ruff: noqa: E501  (tables of statements)

from __future__ import annotations

import pytest

from tests.unit.sql.catalogs import facts, outputs, outside, pairs

ALL = [
    ("id", ["users.id"], True),
    ("name", ["users.name"], True),
    ("ssn", ["users.ssn"], True),
    ("email", ["users.email"], True),
]


@pytest.mark.parametrize("text", ["select * from users", "select u.* from users u", "table users", "select public.users.* from users"])  # fmt: skip
def test_star(text: str) -> None:
    assert outputs(text) == ALL


def test_star_of_several() -> None:
    assert [name for name, _, _ in outputs("select * from notes, users u") or []] == ["id", "body", "id", "name", "ssn", "email"]  # fmt: skip
    assert [name for name, _, _ in outputs("select u.*, 1, notes.body from notes, users u") or []] == [
        "id", "name", "ssn", "email", "?column?", "body",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "rest",
    ["where ssn = '1'", "where name = 'a' and (id = '1' or ssn like '1%')", "order by ssn", "order by 2", "order by upper(ssn)",
     "group by id, ssn", "group by 2, 1", "group by rollup (ssn), id", "group by grouping sets ((id, ssn), ())",
     "group by id, ssn having true", "limit (select count(*) from users where ssn = '1')", "offset length(ssn)",
     "window w as (partition by ssn)", "window w as (order by id, ssn)", "where id in (select ssn from users)",
     "where exists (select 1 from orders where users.ssn = total)", "order by s", "group by s, id",
     "order by ssn using <", "fetch first (select 1 from users where ssn = '') rows only"],
)  # fmt: skip
def test_used_in_a_clause(rest: str) -> None:
    assert "users.ssn" in outside(f"select id, ssn as s from users {rest}")


@pytest.mark.parametrize("text", ["select distinct ssn from users", "select distinct on (ssn) id from users", "select id from users group by ssn having max(email) = 'a'", "select distinct on (2) id, ssn from users"])  # fmt: skip
def test_distinct_and_having_use(text: str) -> None:
    assert "users.ssn" in outside(text)


@pytest.mark.parametrize("text", ["select id, ssn from users where id = '1' order by id limit 3", "select ssn from users group by users.id"])  # fmt: skip
def test_other_clauses_leave_it_bare(text: str) -> None:
    assert "users.ssn" not in outside(text)


def test_union_all_hands_on() -> None:
    text = "select name as n from users union all select ssn from users union all select email from users"
    assert outputs(text) == [("n", ["users.email", "users.name", "users.ssn"], True)]
    assert outside(text) == []


@pytest.mark.parametrize("operator", ["union", "intersect", "except", "intersect all", "except all"])
def test_other_set_operations_compare(operator: str) -> None:
    assert outside(f"select id from users {operator} select ssn from users") == ["users.id", "users.ssn"]
    assert "users.ssn" in outside(
        f"(select ssn from users union all select id from orders) {operator} select name from users"
    )


def test_set_operation_order_by_uses_outputs() -> None:
    assert outside("select ssn from users union all select id from orders order by 1") == ["orders.id", "users.ssn"]
    assert outside("select ssn as a from users union all select id from orders order by a") == [
        "orders.id",
        "users.ssn",
    ]


def test_values() -> None:
    assert outputs("values (1, (select ssn from users)), (2, 'x')") == [("column1", [], True), ("column2", ["users.ssn"], True)]  # fmt: skip


def test_arms_of_unequal_length_have_unknown_columns() -> None:
    assert outputs("select ssn from users union all select id, name from users") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select * from users for update", ["select public.users", "update public.users"]),
        ("select * from users u, orders o for share of o", ["select public.orders", "select public.users", "update public.orders"]),
        ("select * from users join orders on true for no key update", ["select public.orders", "select public.users", "update public.orders", "update public.users"]),
        ("select * from (select * from users) s for key share", ["select public.users", "update public.users"]),
        ("select * from nope for update", ["select nope (unresolved)", "update nope (unresolved)"]),
    ],
)  # fmt: skip
def test_locking_rows_is_an_update(text: str, expected: list[str]) -> None:
    assert pairs(text) == expected
    assert not facts(text).changes


def test_has_where() -> None:
    assert facts("select 1 from users where id = '1'").has_where
    assert not facts("select 1 from users").has_where
    assert not facts("delete from users").has_where
    assert facts("delete from users where id = '1'").has_where
    assert not facts(
        "with d as (delete from orders returning *) delete from users where id in (select id from d)"
    ).has_where


@pytest.mark.parametrize("text", ["select id from users where id = 1 limit 5", "select count(*) from users", "update users set name = 1 where id = 2", "insert into notes values (1, 2)"])  # fmt: skip
def test_literals_do_not_matter(text: str) -> None:
    assert not facts(text).literal_sensitive


@pytest.mark.parametrize("text", ["select id from users order by 1", "select id from users group by 1", "select distinct on (1) id from users", "select set_config('work_mem', '1', false)", "set work_mem = 3", "select id from users union all select id from orders order by 1", "explain select 1", "fetch 3 from c"])  # fmt: skip
def test_literals_matter(text: str) -> None:
    assert facts(text).literal_sensitive
