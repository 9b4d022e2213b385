"""Lineage through FROM: aliases, joins, subqueries, functions."""

# ruff: noqa: E501  (tables of statements)

from __future__ import annotations

import pytest

from tests.unit.sql.catalogs import facts, outputs, outside


@pytest.mark.parametrize(
    "text",
    [
        "select c as x from users as t(a, b, c)",
        "select x from (select ssn as x from users) s",
        "select x from (select id, ssn from users) as s(i, x)",
        "select s.x from users u, lateral (select u.ssn as x) s",
        "select x from (values ((select ssn from users))) v(x)",
        "select j.x from (users cross join notes) as j(a, b, x, d)",
        "select upper as x from (select upper(ssn) from users) s",
        "select x from (select ssn as x from users) ",
        "select (select (select ssn)) as x from users",
        "select x from users u left join lateral (select u.ssn as x) s on true",
        "select x from public.users as t(a, b, x) tablesample system (50)",
    ],
)
def test_the_secret_stays_bare(text: str) -> None:
    assert outputs(text) == [("x", ["users.ssn"], True)]
    assert outside(text) == []


def test_a_subquery_does_not_see_its_neighbours() -> None:
    """`o` inside is the outer query's, not the neighbour of the same name."""
    text = "select (select z.x from users o, (select o.total as x) z limit 1) as y from orders o"
    assert outputs(text) == [("y", ["orders.total"], True)]


def test_using_merges_and_compares() -> None:
    text = "select * from users join orders using (id)"
    assert [name for name, _, _ in outputs(text) or []] == ["id", "name", "ssn", "email", "user_id", "total"]
    assert outputs(text)[0] == ("id", ["orders.id", "users.id"], True)  # type: ignore[index]
    assert outside(text) == ["orders.id", "users.id"]
    assert outputs("select j.id from users join orders using (id) as j") == [("id", ["orders.id", "users.id"], True)]


def test_natural_joins_compare_the_common_columns() -> None:
    assert "users.ssn" in outside("select 1 from users natural join people")
    assert outside("select 1 from users natural join notes") == ["notes.id", "users.id"]


def test_a_natural_join_with_the_unknown_compares_anything() -> None:
    assert "users.ssn" in outside("select 1 from users natural join nope")


@pytest.mark.parametrize("kind", ["join", "left join", "right join", "full join"])
def test_join_conditions_use(kind: str) -> None:
    assert outside(f"select 1 from users u {kind} orders o on u.ssn = o.total") == ["orders.total", "users.ssn"]


@pytest.mark.parametrize(
    "text",
    [
        "select x from users u, unnest(array[u.ssn]) x",
        "select value from users u, jsonb_each_text(to_jsonb(u)) f(key, value)",
        "select value from users u, jsonb_each_text(to_jsonb(u))",
        "select f.* from users u, json_to_record(to_json(u)) as f(ssn text)",
        "select x from users u, regexp_split_to_table(ssn, '-') x",
        "select a from users, xmltable('/a' passing xmlelement(name a, ssn) columns a text)",
        "select a from users, json_table(ssn, '$' columns (a text path '$', nested '$.b' columns (c int path '$')))",
        "select x from users, rows from (unnest(array[ssn]), generate_series(1, 2)) r(x, y)",
        "select x from users u, json_populate_record(null::users, to_json(u)) r(x)",
    ],
)
def test_functions_use_their_arguments(text: str) -> None:
    assert "users.ssn" in outside(text)
    found = facts(text).outputs
    assert found is None or "public.users.ssn" in found[0].sources


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("select * from generate_series(1, 3) g", ["g"]),
        ("select * from generate_series(1, 3)", ["generate_series"]),
        ("select * from jsonb_array_elements('[]') e", ["value"]),
        ("select * from unnest(array[1, 2]) with ordinality", ["unnest", "ordinality"]),
        ("select * from unnest($1::int[]) u, notes", ["u", "id", "body"]),
        ("select * from json_to_record('{}') as x(a int, b text)", ["a", "b"]),
        (
            "select * from json_table('{}', '$' columns (a int path '$', nested '$.x' columns (b int path '$')))",
            ["a", "b"],
        ),
    ],
)
def test_columns_of_functions(text: str, names: list[str]) -> None:
    assert [name for name, _, _ in outputs(text) or []] == names


@pytest.mark.parametrize("text", ["select * from users u, unnest(array[u])", "select * from jsonb_each('{}')", "select * from nope", "select * from users, nope"])  # fmt: skip
def test_unknown_columns_are_unknown(text: str) -> None:
    assert outputs(text) is None


def test_a_foreign_sampling_method_is_incomplete() -> None:
    assert not facts("select 1 from users tablesample mine (1)").complete


def test_unresolved_relations_stay_visible() -> None:
    found = facts("select a from nope")
    assert [str(pair) for pair in found.pairs] == ["sql.select nope (unresolved)"]
    assert found.notes == ("nope is not in the catalogue",)


def test_a_row_beside_something_of_unknown_columns_is_still_a_row() -> None:
    text = "select u from users u, jsonb_each('{}') j"
    assert "users.ssn" in outside(text)
    assert "users.ssn" in outside("select (select u) from users u, nope")


def test_a_schema_qualifier_means_a_relation_without_alias() -> None:
    text = "select (select public.orders.total from users orders limit 1) as x from public.orders"
    assert outputs(text) == [("x", ["orders.total"], True)]
