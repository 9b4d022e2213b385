"""INSERT, UPDATE, DELETE, MERGE: effects, flows, RETURNING."""

# ruff: noqa: E501  (tables of statements)

from __future__ import annotations

import pytest

from tests.unit.sql.catalogs import facts, flowing, outputs, outside, pairs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("insert into notes values (1)", ["insert public.notes"]),
        ("insert into notes select id, name from users", ["insert public.notes", "select public.users"]),
        ("insert into notes values (1) returning id", ["insert public.notes", "select public.notes"]),
        ("insert into notes values (1) on conflict do nothing", ["insert public.notes"]),
        ("insert into notes values (1) on conflict (id) do update set body = 'x'", ["insert public.notes", "update public.notes"]),
        ("update notes set body = 'x'", ["update public.notes"]),
        ("update notes set body = name from users", ["select public.users", "update public.notes"]),
        ("update notes set body = (select name from users limit 1)", ["select public.users", "update public.notes"]),
        ("delete from notes using users where users.id = notes.id", ["delete public.notes", "select public.users"]),
        ("delete from only notes", ["delete public.notes"]),
        ("merge into notes n using users u on n.id = u.id when matched then delete", ["delete public.notes", "merge public.notes", "select public.users"]),
        ("merge into notes n using users u on n.id = u.id when not matched then insert values (u.id, u.name) when matched then update set body = ''",
         ["insert public.notes", "merge public.notes", "select public.users", "update public.notes"]),
        ("merge into notes n using users u on n.id = u.id when matched then do nothing", ["merge public.notes", "select public.users"]),
    ],
)  # fmt: skip
def test_effects(text: str, expected: list[str]) -> None:
    assert pairs(text) == expected
    assert facts(text).changes


@pytest.mark.parametrize(
    "text",
    [
        "insert into notes (body) select ssn from users",
        "insert into notes values (1, (select ssn from users limit 1))",
        "insert into notes select * from (select id, ssn from users) s",
        "update notes set body = ssn from users",
        "update notes set (id, body) = (select id, ssn from users limit 1)",
        "update users set name = ssn",
        "merge into notes n using users u on n.id = u.id when matched then update set body = u.ssn",
        "merge into notes n using users u on n.id = u.id when not matched then insert (body) values (u.ssn)",
        "create table copy as select ssn from users",
        "select ssn into copy from users",
        "create view peek as select ssn from users",
        "create materialized view peek as select ssn from users",
        "with x as (insert into notes (body) select ssn from users) select 1",
        "insert into notes (id, body) select id, ssn from users on conflict (id) do update set body = excluded.body",
    ],
)
def test_flows(text: str) -> None:
    assert "users.ssn" in flowing(text)


@pytest.mark.parametrize(
    "text",
    [
        "update users set email = lower(email)",
        "update users set ssn = ssn where id = '1'",
        "update users set ssn = 'x'",
        "insert into users (id, ssn) values ($1, $2)",
        "insert into users (id, email) values ($1, $2) on conflict (id) do update set email = excluded.email",
        "delete from users where id = '1'",
    ],
)
def test_values_that_stay_do_not_flow(text: str) -> None:
    assert flowing(text) == []


def test_a_changed_value_of_its_own_flows() -> None:
    assert flowing("update users set ssn = ssn || 'x'") == ["users.ssn"]


def test_conflict_targets_are_used() -> None:
    assert outside("insert into users (ssn) values ($1) on conflict (ssn) do nothing") == ["users.ssn"]
    assert outside("insert into users (ssn) values ($1) on conflict (lower(ssn)) where ssn <> '' do nothing") == [
        "users.ssn"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "delete from users where id = '1' returning ssn as x",
        "update users u set name = 'a' returning u.ssn as x",
        "insert into users (id) values (1) returning ssn as x",
        "update users set name = 'a' returning old.ssn as x",
        "update users set name = 'a' returning with (old as before) before.ssn as x",
        "merge into users u using orders o on o.id = u.id when matched then delete returning u.ssn as x",
        "update orders o set total = 1 from users u where u.id = o.user_id returning u.ssn as x",
    ],
)
def test_returning(text: str) -> None:
    assert outputs(text) == [("x", ["users.ssn"], True)]
    assert facts(text).returns_rows


def test_returning_carries_what_flowed_in() -> None:
    assert outputs("update notes set body = ssn from users returning body") == [
        ("body", ["notes.body", "users.ssn"], True)
    ]
    assert outputs("insert into notes (id, body) select id, ssn from users returning *") == [
        ("id", ["notes.id", "users.id"], True),
        ("body", ["notes.body", "users.ssn"], True),
    ]


def test_returning_star_of_merge_is_unknown() -> None:
    text = "merge into notes n using users u on u.id = n.id when matched then delete returning *"
    assert outputs(text) is None


def test_errors_may_quote_the_whole_row() -> None:
    """ "Failing row contains (…)" shows columns that the statement does not name."""
    for text in (
        "update users set name = null",
        "delete from users",
        "insert into users (id) values (1) on conflict (id) do update set name = null",
    ):
        assert "public.users.ssn" in facts(text).columns_read, text


def test_predicates_are_used() -> None:
    assert outside("update notes set body = 'x' where id in (select ssn from users)") == ["notes.id", "users.ssn"]
    assert outside("delete from users where ssn = '1'") == ["users.ssn"]
    assert "users.ssn" in outside(
        "merge into notes n using users u on u.ssn = n.id when matched and u.name = '' then delete"
    )


def test_rules_make_a_modification_incomplete() -> None:
    assert not facts("insert into ruled values (1)").complete
    assert facts("select * from ruled").complete


def test_settings_can_not_be_changed_through_their_view() -> None:
    found = facts("update pg_settings set setting = 'off' where name = 'standard_conforming_strings'")
    assert "sql.unknown" in [pair.effect for pair in found.pairs]


def test_writing_to_a_view_is_writing_to_the_view() -> None:
    assert pairs("update v_plain set uid = '1'") == ["update public.v_plain"]
