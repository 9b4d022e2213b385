"""Lineage of expressions: what stays bare, what is used, what a whole row is."""

# ruff: noqa: E501  (tables of statements)

from __future__ import annotations

import pytest

from tests.unit.sql.catalogs import facts, outputs, outside

ROW = ["users.email", "users.id", "users.name", "users.ssn"]


@pytest.mark.parametrize(
    "expression",
    ["ssn", "u.ssn", "upper(ssn)", "pg_catalog.lower(u.ssn)", "trim(ssn)", "coalesce(ssn, '-')", "upper(trim(ssn))",
     "(select ssn)", "(select u.ssn limit 1)", "(ssn)"],
)  # fmt: skip
def test_bare(expression: str) -> None:
    text = f"select {expression} as x from users u"
    assert outputs(text) == [("x", ["users.ssn"], True)]
    assert outside(text) == []


@pytest.mark.parametrize(
    "expression",
    ["ssn || 'x'", "ssn::int", "cast(ssn as varchar)", "substring(ssn from 1 for 3)", "left(ssn, 3)", "md5(ssn)",
     "length(ssn)", "max(ssn)", "min(ssn)", "string_agg(ssn, ',')", "array_agg(ssn)", "json_agg(ssn)", "ssn = '1'",
     "ssn is null", "nullif(ssn, '1')", "greatest(ssn, 'a')", "case when ssn = '1' then 1 end",
     "case ssn when '1' then 1 end", "case when true then ssn end", "array[ssn]", "row(ssn)", "(ssn, 1)", "not (ssn = '1')",
     "ssn like '1%'", "ssn in ('1')", "'1' in (ssn)", "ssn between 'a' and 'b'", "ssn is distinct from 'a'", "encode(ssn::bytea, 'hex')",
     "to_json(ssn)", "jsonb_build_object('a', ssn)", "format('%s', ssn)", "concat(ssn)", "ssn collate \"C\"",
     "array(select ssn)", "ssn = any (array['1'])", "'1' = any (select ssn)", "first_value(ssn) over ()",
     "count(*) filter (where ssn = '1')", "count(distinct ssn)", "count(ssn) over ()", "count(ssn || 'x')", "rank() over (order by ssn)",
     "sum(1) over (partition by ssn)", "ltrim(ssn, '1')", "json_object('a': ssn)", "json_array(ssn)", "json_scalar(ssn)",
     "xmlelement(name a, ssn)", "xmlforest(ssn)", "json_value(ssn, '$')", "ssn at time zone 'utc'", "extract(day from ssn)",
     "(array[ssn])[1]", "ssn[1]", "unnest(array[ssn])", "ssn is json", "position('1' in ssn)", "overlay(ssn placing 'x' from 1)",
     "string_agg('a', ',' order by ssn)", "percentile_disc(0.5) within group (order by ssn)", "lag(id, 1, ssn) over ()"],
)  # fmt: skip
def test_used_outside_the_output(expression: str) -> None:
    text = f"select {expression} as x from users"
    found = facts(text)
    assert "users.ssn" in outside(text)
    assert found.outputs is None or not found.outputs[0].bare or found.outputs[0].sources == frozenset()


@pytest.mark.parametrize("expression", ["count(ssn)", "count(u)", "count(u.*)", "count(*)"])
def test_counting_tells_nothing(expression: str) -> None:
    text = f"select {expression} as x from users u"
    assert outputs(text) == [("x", [], True)]
    assert outside(text) == []


@pytest.mark.parametrize(
    "expression",
    ["u", "u::text", "row_to_json(u)", "to_jsonb(u)", "json_agg(u)", "row(u.*)", "row_to_json(u.*)", "u is null",
     "(u).ssn", "u.row_to_json", "array_agg(u)", "hash_record(u)", "coalesce(u, u)", "(select u)", "u = u", "concat(u)"],
)  # fmt: skip
def test_whole_rows_taint_all_columns(expression: str) -> None:
    text = f"select {expression} as x from users u"
    assert outputs(text) == [("x", ROW, False)]
    assert outside(text) == ROW


def test_star_of_a_composite_has_unknown_columns() -> None:
    assert outputs("select (u).* from users u") is None
    assert outside("select (u).* from users u") == ROW


def test_a_column_hides_a_table_of_its_name() -> None:
    assert outputs("select id from (select ssn as id, 1 as users from users) users") == [("id", ["users.ssn"], True)]
    assert outputs("select users from (select ssn as users from users) users") == [("users", ["users.ssn"], True)]


def test_function_notation_of_a_column_taints_the_row() -> None:
    found = facts("select ssn(u) from users u")
    assert not found.complete
    assert outside("select ssn(u) from users u") == ROW


def test_system_columns_have_no_sources() -> None:
    assert outputs("select ctid, u.xmin, tableoid from users u") == [("ctid", [], True), ("xmin", [], True), ("tableoid", [], True)]  # fmt: skip


def test_an_unknown_column_taints_everything_and_is_incomplete() -> None:
    found = facts("select nope from users")
    assert not found.complete
    assert outside("select nope from users") == ROW


@pytest.mark.parametrize("text", ["select exists (select ssn from users)", "select 1 from orders where exists (select ssn from users)"])  # fmt: skip
def test_exists_reads_but_does_not_use(text: str) -> None:
    assert outside(text) == []


def test_columns_read_hold_what_is_read_only() -> None:
    assert facts("select id from users").columns_read == {"public.users.id"}


@pytest.mark.parametrize(
    "text",
    ["select $1", "select $1::text", "select 1, 'a', null, true", "select current_user, now(), current_date"],
)
def test_no_sources(text: str) -> None:
    assert all(sources == [] for _, sources, _ in outputs(text) or [("", ["none"], True)])
