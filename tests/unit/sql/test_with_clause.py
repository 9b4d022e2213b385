"""WITH: scoping, recursion, data-modifying queries."""

# ruff: noqa: E501  (tables of statements)

from __future__ import annotations

from tests.unit.sql.catalogs import facts, outputs, outside, pairs


def test_a_with_query_hides_a_table() -> None:
    text = "with orders as (select ssn from users) select * from orders"
    assert outputs(text) == [("ssn", ["users.ssn"], True)]
    assert pairs(text) == ["select public.users"]


def test_a_qualified_name_is_never_a_with_query() -> None:
    assert pairs("with orders as (select 1) select * from public.orders") == ["select public.orders"]


def test_without_recursive_a_query_sees_only_earlier_ones() -> None:
    text = "with users as (select id from users), b as (select * from users) select * from b"
    assert outputs(text) == [("id", ["users.id"], True)]
    assert pairs(text) == ["select public.users"]


def test_column_names() -> None:
    assert outputs("with w(a, b) as (select id, ssn from users) select b from w") == [("b", ["users.ssn"], True)]


def test_recursion_carries_sources_through() -> None:
    text = (
        "with recursive r(n, a, b, c) as (select 1, ssn, '', '' from users union all "
        "select n + 1, a, a, b from r where n < 5) select c from r"
    )
    assert outputs(text) == [("c", ["users.ssn"], True)]
    assert outside(text) == []


def test_recursion_with_union_compares() -> None:
    text = "with recursive r(s) as (select ssn from users union select s from r) select 1 from r"
    assert outside(text) == ["users.ssn"]


def test_recursion_that_computes_uses() -> None:
    text = "with recursive r(s) as (select name from users union all select s || (select ssn from users limit 1) from r) select s from r"  # fmt: skip
    assert outputs(text) == [("s", ["users.name", "users.ssn"], False)]
    assert outside(text) == ["users.name", "users.ssn"]


def test_search_and_cycle_add_columns() -> None:
    text = (
        "with recursive r(i, s) as (select id, ssn from users union all select i, s from r) "
        "search depth first by s set seq cycle i set looped using path select seq, looped, path from r"
    )
    assert outputs(text) == [
        ("seq", ["users.ssn"], False),
        ("looped", ["users.id"], False),
        ("path", ["users.id"], False),
    ]
    assert outside(text) == ["users.id", "users.ssn"]


def test_modifications_count_whether_referred_to_or_not() -> None:
    assert pairs("with d as (delete from orders) select 1") == ["delete public.orders"]
    text = "with d as (delete from orders returning total) select total from d"
    assert pairs(text) == ["delete public.orders", "select public.orders"]
    assert outputs(text) == [("total", ["orders.total"], True)]
    assert facts(text).changes


def test_nested_with() -> None:
    text = "with a as (with b as (select ssn from users) select * from b) select (with c as (select ssn from a) select ssn from c) from a"
    assert outputs(text) == [("ssn", ["users.ssn"], True)]


def test_a_with_query_may_refer_to_the_outer_query() -> None:
    assert outputs("select (with w as (select u.ssn as x) select x from w) from users u") == [
        ("x", ["users.ssn"], True)
    ]
