"""PG-08: forms that hide what they do. Each is classified by what it does, or unknown; never a harmless read.

Every text is one that a real server accepts (it is run there in a transaction that is rolled back)."""

# ruff: noqa: E501  (tables of texts)

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.sql.catalog import Catalog
from taskgate.sql.names import SessionNames
from taskgate.sql.postgres import analyze
from tests.integration.sql.conftest import Connection, new_database, read_catalog

SCRIPT = """
create table t (a text); create table u (a text); insert into t values ('1'); create role other;
create function wipe() returns int language sql as 'delete from t; select 1';
create procedure wipe_all() language sql as 'delete from t';
create schema evil;
"""


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> Iterator[tuple[Connection, Catalog]]:
    connection = new_database(postgres, "pg08", "drop role if exists other;" + SCRIPT)
    yield connection, read_catalog(postgres, "pg08")
    connection.close()


HIDDEN = [
    ("with d as (delete from t returning *) select * from d", "sql.delete public.t"),
    ("with a as (insert into t values ('x') returning *), b as (update u set a = '' returning 1) select 1", "sql.update public.u"),
    ("merge into t using u on t.a = u.a when matched then delete", "sql.delete public.t"),
    ("copy (delete from t returning a) to stdout", "sql.delete public.t"),
    ("explain analyze delete from t", "sql.delete public.t"),
    ("explain (costs off, analyze true) update t set a = ''", "sql.update public.t"),
    ("explain analyze with d as (delete from t returning *) select * from d", "sql.delete public.t"),
    ("select * into copied from t", "sql.ddl public.copied"),
    ("create table copied as select * from t", "sql.ddl public.copied"),
    ("create temp table copied as with d as (delete from t returning *) select 1", None),
    ("select wipe()", "sql.call public.wipe"),
    ("select * from wipe() w", "sql.call public.wipe"),
    ("select 1 from t where wipe() = 1", "sql.call public.wipe"),
    ("select 1 order by wipe()", "sql.call public.wipe"),
    ("values (wipe())", "sql.call public.wipe"),
    ("insert into u select wipe()::text", "sql.call public.wipe"),
    ("select case when true then wipe() end", "sql.call public.wipe"),
    ("select coalesce(null, wipe())", "sql.call public.wipe"),
    ("select 1 limit wipe()", "sql.call public.wipe"),
    ("do $$ begin delete from t; end $$", "sql.do"),
    ("call wipe_all()", "sql.call public.wipe_all"),
    ("prepare p as delete from t; execute p", "sql.delete public.t"),
    ("prepare q (text) as insert into t values ($1); explain analyze execute q('x')", "sql.insert public.t"),
    ("declare c cursor for select * from t; fetch all from c", "sql.select public.t"),
    ("listen x", "sql.listen x"),
    ("notify x, 'y'", "sql.listen x"),
    ("select pg_notify('x', 'y')", "sql.call pg_catalog.pg_notify"),
    ("set role other", "sql.set role"),
    ("set session authorization other", "sql.set session_authorization"),
    ("select set_config('role', 'other', true)", "sql.set role"),
    ("reset all", "sql.session reset all"),
    ("set search_path = evil, public", "sql.set search_path"),
    ("lock t in access exclusive mode", "sql.maintenance public.t"),
    ("select * from t for update", "sql.update public.t"),
    ("create rule r as on insert to t do also delete from u", "sql.ddl public.t"),
    ("alter table t disable trigger all", "sql.ddl public.t"),
    ("truncate t", "sql.truncate public.t"),
    ("select lo_creat(-1)", "sql.call pg_catalog.lo_creat"),
    ("select lo_from_bytea(0, 'x')", "sql.call pg_catalog.lo_from_bytea"),
    ("select pg_advisory_xact_lock(1)", "sql.call pg_catalog.pg_advisory_xact_lock"),
    ("select pg_sleep(0)", "sql.call pg_catalog.pg_sleep"),
    ("select * from pg_stat_get_activity(null)", "sql.call pg_catalog.pg_stat_get_activity"),
    ("select * from ts_stat('select to_tsvector(a) from t')", "sql.call pg_catalog.ts_stat"),
    ("select ts_rewrite('a'::tsquery, 'select ''a''::tsquery, a::tsquery from t')", "sql.call pg_catalog.ts_rewrite"),
    ("select pg_read_file('postgresql.conf', 0, 1)", "sql.call pg_catalog.pg_read_file"),
    ("copy t from '/dev/null'", "sql.admin copy file"),
    ("copy t to program 'cat >/dev/null'", "sql.admin copy program"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), HIDDEN, ids=[text for text, _ in HIDDEN])
def test_pg_08_hidden_effects_are_seen(database: tuple[Connection, Catalog], text: str, expected: str | None) -> None:
    connection, catalog = database
    found = analyze(text, catalog, ("public",))
    seen = {str(pair) for facts in found for pair in facts.pairs}
    if expected is not None:
        assert expected in seen
        if expected.startswith(("sql.call", "sql.do")):
            assert not all(facts.complete for facts in found)
    accepted(connection, text, refused=expected is None)


def accepted(connection: Connection, text: str, *, refused: bool = False) -> None:
    """The server takes the text (or, where said, refuses it whatever we think)."""
    try:
        with connection.transaction(force_rollback=True):
            if "to stdout" in text:
                with connection.cursor().copy(text.encode()) as copy:
                    for _ in copy:
                        pass
            else:
                connection.execute(text.encode())
    except psycopg.errors.SyntaxError:
        raise
    except psycopg.Error:
        assert refused


def test_pg_08_a_view_that_calls_code_says_so(database: tuple[Connection, Catalog], postgres: PostgresServer) -> None:
    database[0].execute("create or replace view harmless as select wipe() as a")
    catalog = read_catalog(postgres, "pg08")
    (facts,) = analyze("select * from harmless", catalog, ("public",))
    assert "sql.call public.wipe" in {str(pair) for pair in facts.pairs}
    assert not facts.complete


def test_pg_08_shadowing_by_search_path(database: tuple[Connection, Catalog], postgres: PostgresServer) -> None:
    """`lower(varchar)` in the path beats pg_catalog's `lower(text)` for a varchar: the server really runs it."""
    connection = database[0]
    connection.execute(
        "create or replace function evil.lower(varchar) returns text language sql as $$ select 'evil' $$;"
        "drop operator if exists evil.=(varchar, varchar);"
        "create or replace function evil.eq(varchar, varchar) returns bool language sql as $$ select false $$;"
        "create operator evil.= (leftarg = varchar, rightarg = varchar, function = evil.eq)"
    )
    catalog = read_catalog(postgres, "pg08")
    connection.execute("set search_path = public, evil")
    try:
        assert connection.execute("select lower('A'::varchar)").fetchone() == ("evil",)
        assert connection.execute("select 'a'::varchar = 'a'::varchar").fetchone() == (False,)
    finally:
        connection.execute("reset search_path")
    for text in (
        "select lower('A'::varchar)",
        "select 'a'::varchar = 'a'::varchar",
        "select 1 where 'a' in ('a'::varchar)",
    ):
        (shadowed,) = analyze(text, catalog, ("public", "evil"))
        (plain,) = analyze(text, catalog, ("public",))
        assert not shadowed.complete, text
        assert plain.complete, text


def test_pg_08_relations_before_pg_catalog(database: tuple[Connection, Catalog]) -> None:
    connection, catalog = database
    connection.execute("create temp table if not exists pg_class (x int)")
    try:
        names = SessionNames()
        (created,) = analyze("create temp table pg_class (x int)", catalog, ("public",), names)
        names.confirm(names.stage(created.name_changes))
        (facts,) = analyze("select * from pg_class", catalog, ("public",), names)
        assert "sql.select pg_temp.pg_class" in {str(pair) for pair in facts.pairs}
        assert facts.outputs is None
    finally:
        connection.execute("drop table pg_temp.pg_class")


def test_pg_08_a_prepared_name_that_is_live_keeps_its_meaning(database: tuple[Connection, Catalog]) -> None:
    connection, catalog = database
    names = SessionNames()
    connection.execute("prepare live as delete from t where false")
    (first,) = analyze("prepare live as delete from t where false", catalog, ("public",), names)
    names.confirm(names.stage(first.name_changes))
    with pytest.raises(psycopg.errors.DuplicatePreparedStatement):
        connection.execute("prepare live as select 1")
    (second,) = analyze("prepare live as select 1", catalog, ("public",), names)
    ticket = names.stage(second.name_changes)
    names.discard(ticket)
    (executed,) = analyze("execute live", catalog, ("public",), names)
    assert [str(pair) for pair in executed.pairs] == ["sql.delete public.t"]
    connection.execute("deallocate live")
