"""Which pairs each kind of statement has; EXPLAIN, PREPARE, cursors."""
# ruff: noqa: E501  (tables of statements)

from __future__ import annotations

import pytest

from taskgate.sql.names import SessionNames
from taskgate.sql.postgres import analyze
from tests.unit.sql.catalogs import CATALOG, facts, pairs

EFFECTS = [
    ("select pg_sleep(1)", ["call pg_catalog.pg_sleep"]),
    ("select secret(1) from users", ["call public.secret", "select public.users"]),
    ("select nope(1)", ["call nope (unresolved)"]),
    ("select * into t from users", ["ddl public.t", "select public.users"]),
    ("create table t as select * from users", ["ddl public.t", "select public.users"]),
    ("create temp table t as select * from users", ["ddl pg_temp.t", "select public.users"]),
    ("explain select * from users", ["explain public.users", "select public.users"]),
    ("explain delete from users", ["explain public.users", "select public.users"]),
    ("explain (analyze off) delete from users", ["explain public.users", "select public.users"]),
    ("explain analyze delete from users", ["delete public.users", "explain public.users", "select public.users"]),
    ("explain (analyze, buffers) delete from users", ["delete public.users", "explain public.users", "select public.users"]),
    ("explain (analyze on) insert into notes select 1", ["explain public.notes", "insert public.notes", "select public.notes"]),
    ("explain analyze create table t as select 1", ["ddl public.t", "explain public.t", "select public.t"]),
    ("explain select pg_sleep(1)", ["call pg_catalog.pg_sleep", "explain"]),
    ("explain select 1", ["explain", "select"]),
    ("prepare p as delete from users", ["delete public.users"]),
    ("declare c cursor for select * from users", ["select public.users"]),
    ("do $$ begin end $$", ["do"]),
    ("call archive(1)", ["call public.archive"]),
    ("truncate users, orders", ["truncate public.orders", "truncate public.users"]),
    ("lock users in access share mode", ["select public.users"]),
    ("lock users", ["maintenance public.users"]),
    ("listen jobs", ["listen jobs"]),
    ("unlisten *", ["session unlisten"]),
    ("notify jobs, 'x'", ["listen jobs"]),
    ("vacuum users", ["maintenance public.users"]),
    ("vacuum", ["maintenance"]),
    ("analyze users (id)", ["maintenance public.users"]),
    ("cluster users", ["maintenance public.users"]),
    ("reindex table users", ["maintenance public.users"]),
    ("reindex schema public", ["maintenance public"]),
    ("checkpoint", ["maintenance"]),
    ("refresh materialized view m_plain", ["maintenance public.m_plain"]),
    ("show work_mem", ["session show"]),
    ("discard all", ["session discard all"]),
    ("discard temp", ["session discard temp"]),
    ("deallocate p", ["session deallocate"]),
    ("deallocate all", ["session deallocate"]),
    ("close c", ["session close"]),
    ("reset all", ["session reset all"]),
    ("set constraints all deferred", ["transaction set constraints"]),
    ("execute nothing_prepared", ["unknown EXECUTE nothing_prepared: no such statement was prepared in this session"]),
    ("fetch c", ["unknown FETCH c: no such cursor was opened in this session"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), EFFECTS, ids=[text for text, _ in EFFECTS])
def test_effects(text: str, expected: list[str]) -> None:
    assert pairs(text) == expected


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("select * from users", False), ("explain delete from users", False), ("explain analyze delete from users", True),
        ("prepare p as delete from users", False), ("set work_mem = 1", False), ("begin", False), ("show all", False),
        ("with d as (delete from users returning 1) select 1", True), ("select pg_sleep(1)", True), ("do ''", True),
        ("vacuum", True), ("truncate users", True), ("notify a", False), ("copy users to stdout", False), ("fetch c", True),
        ("select * into t from users", True), ("lock users", False),
    ],
)  # fmt: skip
def test_changes(text: str, changes: bool) -> None:
    assert facts(text).changes is changes


def test_a_plan_carries_all_columns_read() -> None:
    found = facts("explain select id from users where ssn = '1'")
    (plan,) = found.outputs or ()
    assert plan.sources == {"public.users.id", "public.users.ssn"}
    assert found.columns_outside_output == {"public.users.ssn"}


def test_a_cursor_hands_its_columns_to_fetch() -> None:
    declared, fetched, moved = analyze(
        "declare c cursor for select id, ssn as x from users; fetch 3 from c; move c", CATALOG, ("public",)
    )
    assert declared.outputs == ()
    assert not declared.returns_rows
    assert [column.name for column in fetched.outputs or ()] == ["id", "x"]
    assert [str(pair) for pair in fetched.pairs] == ["sql.select public.users"]
    assert fetched.session_objects
    assert moved.outputs == ()


def test_binary_cursors_are_incomplete() -> None:
    declared, fetched = analyze("declare c binary cursor for select 1; fetch c", CATALOG, ("public",))
    assert not declared.complete
    assert not fetched.complete


def test_execute_is_analysed_when_it_runs() -> None:
    """PostgreSQL plans again under the search_path of the moment."""
    names = SessionNames()
    (prepared,) = analyze("prepare p as select * from users", CATALOG, ("public",), names)
    names.confirm(names.stage(prepared.name_changes))
    assert pairs("execute p", names=names) == ["select public.users"]
    assert pairs("execute p", names=names, path=("audit",)) == ["select audit.users"]


def test_every_possible_meaning_counts() -> None:
    names = SessionNames()
    (first,) = analyze("prepare p as select ssn from users", CATALOG, ("public",), names)
    names.confirm(names.stage(first.name_changes))
    (second,) = analyze("prepare p as delete from notes", CATALOG, ("public",), names)
    names.stage(second.name_changes)
    found = facts("execute p", names=names)
    assert sorted(str(pair) for pair in found.pairs) == ["sql.delete public.notes", "sql.select public.users"]
    assert found.outputs is None


def test_a_statement_that_executes_itself_ends() -> None:
    names = SessionNames()
    (call,) = analyze("execute p", CATALOG, ("public",), names)
    del call
    from taskgate.sql import libpg_query
    from taskgate.sql.names import Prepared

    names.confirm(names.stage((Prepared("p", libpg_query.parse("execute p")[0]["stmt"]),)))
    found = facts("execute p", names=names)
    assert not found.complete


def test_temporary_relations_shadow() -> None:
    created, read, other = analyze(
        "create temp table users (x text); select * from users; select * from public.users", CATALOG, ("public",)
    )
    assert created.name_changes
    assert sorted(str(pair) for pair in read.pairs) == ["sql.select pg_temp.users", "sql.select public.users"]
    assert read.outputs is None
    assert read.session_objects
    assert [str(pair) for pair in other.pairs] == ["sql.select public.users"]


def test_what_a_temporary_copy_holds_is_not_forgotten() -> None:
    _, read = analyze("create temp table t as select ssn as x from users; select x from t", CATALOG, ("public",))
    (column,) = read.outputs or ()
    assert column.sources == {"pg_temp.t.x", "public.users.ssn"}


def test_new_code_makes_names_uncertain() -> None:
    _, after = analyze(
        "create function lower(varchar) returns text language sql as ''; select lower('a')", CATALOG, ("public",)
    )
    assert not after.complete


def test_renaming_makes_relations_uncertain() -> None:
    _, after = analyze("alter table notes rename to n2; select * from orders", CATALOG, ("public",))
    assert not after.complete
