"""PG-12: ways to carry a masked column out under another shape. The canary comes back from a real server wherever the
lineage must have tainted it: the position is bare and masked, or the column is used outside the output (refused)."""
# ruff: noqa: E501  (tables of texts)

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.sql.catalog import Catalog
from taskgate.sql.postgres import analyze
from tests.integration.sql.conftest import Connection, new_database, read_catalog

CANARY = "078-05-1120"
FORMS = (CANARY, CANARY[:6], CANARY[::-1], CANARY.encode().hex())
SCRIPT = f"""
create domain secret_text as text;
create table users (id int, name text, ssn text, doc jsonb, tags text[], dom secret_text);
create table orders (id int, note text);
insert into users values (1, 'ann', '{CANARY}', jsonb_build_object('ssn', '{CANARY}'), array['{CANARY}'], '{CANARY}');
insert into orders values (1, 'note');
create view v as select id as i, ssn as tax from users;
create view vv as select tax as t from v;
create view computed as select reverse(ssn) as r, id from users;
create materialized view m as select ssn as s from users;
create table parent (id int, ssn text); create table child () inherits (parent);
insert into child values (1, '{CANARY}');
create table parts (id int, ssn text) partition by list (id);
create table parts_1 partition of parts for values in (1); insert into parts values (1, '{CANARY}');
"""
SECRET = {f"public.{name}" for name in ("users.ssn", "users.doc", "users.tags", "users.dom", "parent.ssn", "parts.ssn")}


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> Iterator[tuple[Connection, Catalog]]:
    connection = new_database(postgres, "pg12", SCRIPT)
    yield connection, read_catalog(postgres, "pg12")
    connection.close()


def rows(connection: Connection, text: str) -> list[tuple[Any, ...]]:
    with connection.transaction(force_rollback=True):
        if text.startswith("copy"):
            with connection.cursor().copy(text.encode()) as copy:
                return [tuple(bytes(block).decode().rstrip("\n").split("\t")) for block in copy]
        cursor = connection.execute(text.encode())
        while cursor.nextset():
            pass
        return cursor.fetchall()


def shows(value: object) -> bool:
    if isinstance(value, bytes | memoryview):
        value = bytes(value).decode(errors="replace")
    return any(form in str(value) for form in FORMS)


# The first 22 are the corpus on which table OIDs, sqlglot and EXPLAIN were measured and found wanting.
BARE = [
    "select ssn from users", "select u.ssn as x from users u", "select * from users", "table users",
    "select tax from v", "select t from vv", "select x from (select ssn as x from users) s",
    "with w as (select ssn from users) select * from w", "select note from orders union all select ssn from users",
    "select (select ssn from users limit 1)", "select s from m", "select ssn from child", "select ssn from parent",
    "select ssn from parts_1", "select ssn from parts", "select c from users as t(a, b, c)",
    "select upper(ssn), lower(ssn), trim(ssn), coalesce(ssn, '') from users",
    "delete from users returning ssn", "update users set name = 'x' returning *",
    "select s.* from orders o, lateral (select ssn from users where id = o.id) s",
    "copy users (ssn) to stdout", "copy (select ssn from users) to stdout",
    "declare c cursor for select ssn from users; fetch all from c",
    "prepare p12 as select ssn from users; execute p12; deallocate p12; declare c cursor for select ssn from users; fetch c",
    "with recursive r(n, s) as (select 1, ssn from users union all select n + 1, s from r where n < 3) select s from r",
    "select j.y from (users cross join orders) as j(a, b, y)", "select dom, tags, doc from users",
    "values ((select ssn from users))", "select * from (values (1, (select ssn from users))) v",
]  # fmt: skip

COMPUTED = [
    "select u from users u", "select users from users", "select u::text from users u", "select row_to_json(u) from users u",
    "select to_jsonb(u) from users u", "select json_agg(u) from users u", "select array_agg(u) from users u",
    "select (u).ssn from users u", "select (u).* from users u", "select u.row_to_json from users u",
    "select unnest(array[ssn, name]) from users", "select * from users u, unnest(array[u.ssn]) x",
    "select ssn::bytea from users", "select encode(ssn::bytea, 'hex') from users", "select ssn::varchar(20) from users",
    "select substring(ssn from 1 for 6) from users", "select left(ssn, 6), right(ssn, 6) from users", "select reverse(ssn) from users",
    "select ssn || '' from users", "select concat('x', ssn) from users", "select format('%s', ssn) from users",
    "select max(ssn), min(ssn) from users", "select string_agg(ssn, ',') from users", "select array_agg(ssn) from users",
    "select mode() within group (order by ssn) from users", "select first_value(ssn) over () from users",
    "select case when id = 1 then ssn end from users", "select nullif(ssn, '') from users", "select greatest(ssn, '') from users",
    "select array(select ssn from users)", "select row(ssn) from users", "select r from computed",
    "select doc ->> 'ssn' from users", "select doc -> 'ssn' from users", "select doc::text from users", "select tags[1] from users",
    "select jsonb_path_query(doc, '$.ssn') from users", "select * from users, jsonb_each_text(doc)",
    "select k.* from users u, jsonb_each_text(to_jsonb(u)) k", "select * from jsonb_to_record((select doc from users)) as x(ssn text)",
    "select regexp_replace(ssn, 'x', '') from users", "select regexp_split_to_table(ssn, ',') from users",
    "select string_to_array(ssn, ',') from users", "select translate(ssn, 'x', 'x') from users", "select ssn collate \"C\" from users",
    "select distinct ssn from users", "select ssn from users union select note from orders", "select ssn from users group by ssn",
    "select json_build_object('a', ssn) from users", "select quote_literal(ssn) from users", "select min(dom) from users",
    "select lag(ssn, 0) over (order by id) from users", "select overlay(ssn placing '' from 20) from users",
    "select jsonb_agg(ssn) from users", "select (select jsonb_agg(u) from users u)", "select array_to_string(array[ssn], ',') from users",
    "update users set name = ssn returning name", "insert into orders select id, ssn from users returning note",
    "with moved as (update users set name = ssn returning name) select name from moved", "select to_json(u.*) from users u",
    "select coalesce(u, u) from users u", "select x from users u, lateral (select u) x", "select json_object_agg(id, ssn) from users",
    "select pg_typeof(ssn)::text || ssn from users",
    "select repeat(ssn, 2) from users", "select split_part(ssn, ',', 1) from users", "select parse_ident('\"' || ssn || '\"') from users",
]  # fmt: skip


@pytest.mark.parametrize("text", BARE)
def test_pg_12_bare_positions_are_masked(database: tuple[Connection, Catalog], text: str) -> None:
    connection, catalog = database
    facts = analyze(text, catalog, ("public",))[-1]
    found = rows(connection, text)
    assert any(shows(value) for row in found for value in row), "the text carries nothing out: it tests nothing"
    assert facts.outputs is not None
    for row in found:
        assert len(row) == len(facts.outputs)
        for position, value in enumerate(row):
            if shows(value):
                assert facts.outputs[position].sources & SECRET
                assert facts.outputs[position].bare
    assert not facts.columns_outside_output & SECRET, "needlessly refused"
    assert facts.complete


@pytest.mark.parametrize("text", COMPUTED)
def test_pg_12_computed_values_are_refused(database: tuple[Connection, Catalog], text: str) -> None:
    connection, catalog = database
    facts = analyze(text, catalog, ("public",))[-1]
    assert (facts.columns_outside_output | facts.columns_flowing) & SECRET
    found = rows(connection, text)
    assert any(shows(value) for row in found for value in row), "the text carries nothing out: it tests nothing"
    for row in found:
        for position, value in enumerate(row):
            if shows(value) and facts.outputs is not None:
                assert facts.outputs[position].sources & SECRET


@pytest.mark.parametrize(
    "text",
    [
        "create table copied as select ssn from users", "create temp table copied as select ssn from users", "select ssn into copied from users",
        "create view peek as select ssn from users", "create materialized view peek as select ssn from users",
        "insert into orders (note) select ssn from users", "update orders set note = ssn from users", "update users set name = ssn",
        "insert into orders (id, note) values (1, (select ssn from users))",
        "merge into orders o using users u on o.id = u.id when matched then update set note = u.ssn",
        "with x as (insert into orders (note) select ssn from users returning 1) select 1",
    ],
)  # fmt: skip
def test_pg_12_flows_into_relations_are_seen(database: tuple[Connection, Catalog], text: str) -> None:
    connection, catalog = database
    (facts,) = analyze(text, catalog, ("public",))
    assert "public.users.ssn" in facts.columns_flowing
    with connection.transaction(force_rollback=True):
        connection.execute(text.encode())


def test_pg_12_masks_reach_every_relation_that_carries_the_column(database: tuple[Connection, Catalog]) -> None:
    catalog = database[1]
    assert catalog.closure(["public.users.ssn"]) == {
        "public.users.ssn", "public.v.tax", "public.vv.t", "public.computed.r", "public.m.s",
    }  # fmt: skip
    assert catalog.closure(["public.parent.ssn"]) == {"public.parent.ssn", "public.child.ssn"}
    assert catalog.closure(["public.parts_1.ssn"]) == {"public.parts.ssn", "public.parts_1.ssn"}
