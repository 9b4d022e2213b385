"""PG-13: learning a masked column without selecting it. Every use outside a bare output position is reported, so that
policy refuses it; where a real server's answer depends on the value, the test shows that it does."""
# ruff: noqa: E501  (tables of texts)

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.sql.catalog import Catalog
from taskgate.sql.postgres import analyze
from tests.integration.sql.conftest import Connection, new_database, read_catalog

SCHEMA = """
create table users (id int, name text, ssn text unique, age int);
create table guesses (value text, n int);
create view v as select id, ssn from users;
insert into guesses values ('078-05-1120', 1), ('219-09-9999', 2);
"""


@pytest.fixture(scope="module")
def databases(postgres: PostgresServer) -> Iterator[tuple[Connection, Connection, Catalog]]:
    one = new_database(
        postgres, "pg13_one", f"{SCHEMA} insert into users values (1, 'a', '078-05-1120', 40), (2, 'b', 'zzz', 20)"
    )
    other = new_database(
        postgres, "pg13_other", f"{SCHEMA} insert into users values (1, 'a', '219-09-9999', 40), (2, 'b', '100', 20)"
    )
    yield one, other, read_catalog(postgres, "pg13_one")
    one.close()
    other.close()


ORACLES = [
    "select id from users where ssn = '078-05-1120'", "select id from users where ssn like '078%'", "select count(*) from users where ssn < '1'",
    "select g.n from users u join guesses g on g.value = u.ssn", "select n from guesses where value in (select ssn from users)",
    "select n from guesses g where exists (select 1 from users u where u.ssn = g.value)", "select id from users order by ssn",
    "select id from users order by upper(ssn) limit 1", "select name, row_number() over (order by ssn) from users",
    "select rank() over (partition by id order by ssn), count(*) filter (where ssn > '1') from users group by id, ssn",
    "select case when ssn > '1' then 1 else 0 end from users", "select max(case ssn when '078-05-1120' then 1 else 0 end) from users",
    "select ssn = '078-05-1120' from users", "select ssn > '1' and id = 1 from users", "select (ssn, id) < ('1', 0) from users",
    "select ascii(ssn) from users", "select md5(ssn) from users", "select hashtext(ssn) from users", "select strpos(ssn, '5') from users",
    "select id from users group by id, ssn having ssn > '1'", "select min(id) from users group by ssn like '078%'",
    "select distinct on (ssn > '1') id from users", "select id from users limit (select count(*) from users where ssn like '078%')",
    "select id from users offset (select case when ssn like '078%' then 1 else 0 end from users where id = 1)",
    "select g.n from guesses g natural join (select ssn as value from users) s", "select n from guesses g join (select ssn as value from users) s using (value)",
    "select value from guesses except select ssn from users", "select value from guesses intersect select ssn from users",
    "update guesses set n = 9 where value in (select ssn from users) returning value", "delete from guesses using users where value = ssn returning n",
    "with hit as (select 1 as one from users where ssn like '078%') select count(*) from hit", "select id from v where ssn = '078-05-1120'",
    "select bool_or(ssn like '078%') from users",
    "select width_bucket(ascii(ssn), 48, 58, 10) from users", "select 1 from generate_series(1, (select ascii(ssn) from users where id = 1)) g",
    "select id from users window w as (order by ssn) order by row_number() over w", "select array_position(array_agg(ssn order by ssn), '078-05-1120') from users",
    "select id from users where ssn is distinct from '078-05-1120'", "select id from users where ssn between '0' and '1'",
    "select id from users where (select ssn) = '078-05-1120'", "select ssn ~ '^078' from users", "select ssn similar to '078%' from users",
    "select json_build_object(ssn, 1) ->> '078-05-1120' from users", "select substr(name, ascii(ssn) - 47) from users",
]  # fmt: skip


@pytest.mark.parametrize("text", ORACLES)
def test_pg_13_predicates_on_a_masked_column_are_reported(
    databases: tuple[Connection, Connection, Catalog], text: str
) -> None:
    one, other, catalog = databases
    answers = []
    for connection in (one, other):
        with connection.transaction(force_rollback=True):
            answers.append(connection.execute(text.encode()).fetchall())
    assert answers[0] != answers[1], "the answer does not depend on the value: the text tests nothing"
    (facts,) = analyze(text, catalog, ("public",))
    assert "public.users.ssn" in facts.columns_outside_output


ERRORS = [
    "select ssn::int from users", "select 1 / (ascii(ssn) - 48) from users", "insert into users select 9, 'x', ssn, 1 from users",
    "update users set id = null, ssn = (select max(ssn) from users)", "select cast(ssn as date) from users", "select to_date(ssn, 'YYYY') || ssn::inet from users",
]  # fmt: skip


@pytest.mark.parametrize("text", ERRORS)
def test_pg_13_errors_that_may_quote_a_masked_value_are_known(
    databases: tuple[Connection, Connection, Catalog], text: str
) -> None:
    one, _, catalog = databases
    with pytest.raises(psycopg.Error), one.transaction(force_rollback=True):
        one.execute(text.encode())
    (facts,) = analyze(text, catalog, ("public",))
    assert "public.users.ssn" in facts.columns_read


@pytest.mark.parametrize(
    "text", ["update users set age = null", "delete from users", "update users set id = 1 where id = 2"]
)
def test_pg_13_row_errors_show_columns_that_are_not_named(
    databases: tuple[Connection, Connection, Catalog], text: str
) -> None:
    (facts,) = analyze(text, databases[2], ("public",))
    assert "public.users.ssn" in facts.columns_read


@pytest.mark.parametrize(
    "text",
    [
        "explain select * from users where ssn = '078-05-1120'",
        "explain analyze select * from users where ssn like '078%'",
    ],
)
def test_pg_13_plans_are_a_result_path(databases: tuple[Connection, Connection, Catalog], text: str) -> None:
    (facts,) = analyze(text, databases[2], ("public",))
    (plan,) = facts.outputs or ()
    assert "public.users.ssn" in plan.sources
    assert "public.users.ssn" in facts.columns_outside_output


@pytest.mark.parametrize("name", ["pg_stats", "pg_statistic", "pg_stats_ext", "pg_stat_activity", "pg_authid"])
def test_pg_13_statistics_are_relations_of_their_own(
    databases: tuple[Connection, Connection, Catalog], name: str
) -> None:
    (facts,) = analyze(f"select * from {name}", databases[2], ("public",))
    assert [str(pair) for pair in facts.pairs if pair.effect == "sql.select"] == [f"sql.select pg_catalog.{name}"]


@pytest.mark.parametrize(
    "text",
    [
        "insert into users values (5, 'x', 'y', 1) on conflict (ssn) do nothing",
        "insert into users as u values (5, 'x', 'y', 1) on conflict (ssn) do update set name = '' where u.ssn > 'a' returning 1",
    ],
)
def test_pg_13_conflict_targets_compare(databases: tuple[Connection, Connection, Catalog], text: str) -> None:
    (facts,) = analyze(text, databases[2], ("public",))
    assert "public.users.ssn" in facts.columns_outside_output
