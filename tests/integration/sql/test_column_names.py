"""Names of unnamed output columns, and the number of columns, as the server gives them."""

# ruff: noqa: E501  (tables of texts)

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.sql.catalog import Catalog
from taskgate.sql.postgres import analyze
from tests.integration.sql.conftest import Connection, new_database, read_catalog

EXPRESSIONS = """
1|'a'|id|u.id|(u).id|(((u)).ssn)|u|upper(ssn)|pg_catalog.upper(ssn)|id + 1|-id|ssn || 'x'|id::text|'a'::text|1::int|ssn::varchar
cast(id as text)|upper(ssn)::text|(id + 1)::bigint|case when true then 1 end|case when true then 1 else id end
case when true then 'a' else upper(ssn) end|coalesce(ssn, '')|nullif(id, 1)|greatest(id, 1)|least(id, 1)|array[id]|row(id)|(id, 1)
exists (select 1)|array(select 1)|(select id)|(select upper(ssn))|(select 1)|(select 1 as named)|id in (1)|id = any (array[1])
current_date|current_user|current_timestamp|current_timestamp(2)|localtime|session_user|current_schema|user|current_catalog
ssn collate "C"|(array[id])[1]|not true|id is null|id between 1 and 2|ssn like 'a'|extract(day from now())|trim(ssn)
substring(ssn from 1)|position('a' in ssn)|overlay(ssn placing 'a' from 1)|now() at time zone 'utc'|xmlelement(name a)|xmlforest(ssn)
xmlconcat(null)|xmlparse(document '<a/>')|xmlserialize(content '<a/>' as text)|count(*) over ()|interval '1 day'|date '2020-01-01'
(select * from (values (1)) v)|(select ssn union select 'a' limit 1)|true|null|1.5|bool 'true'|ssn::char(3)|(select u)
to_json(u)|id operator(pg_catalog.+) 1|normalize(ssn)|ssn is normalized|(now(), now()) overlaps (now(), now())
"""
NEWER = "json_object('a': 1)|json_array(1)|json_value('{}', '$')|json_query('{}', '$')|json_exists('{}', '$')|json_scalar(1)|json('1')"


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> Iterator[tuple[Connection, Catalog]]:
    connection = new_database(postgres, "naming", "create table users (id int, ssn text)")
    yield connection, read_catalog(postgres, "naming")
    connection.close()


def test_names(database: tuple[Connection, Catalog]) -> None:
    connection, catalog = database
    expressions = [
        expression.replace("\0", "||")
        for expression in EXPRESSIONS.strip().replace("||", "\0").replace("\n", "|").split("|")
    ]
    if catalog.server_version >= 180000:
        expressions += NEWER.split("|")
    for expression in expressions:
        text = f"select {expression} from users u"
        try:
            description = connection.execute(text.encode()).description
        except psycopg.errors.FeatureNotSupported:
            assert "xml" in expression  # a server built without libxml
            continue
        assert description is not None
        (found,) = analyze(text, catalog, ("public",))
        assert found.outputs is not None, text
        assert [column.name for column in found.outputs] == [column.name for column in description], text
