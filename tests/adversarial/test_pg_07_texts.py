"""PG-07: the decision is on what the server will parse. Statement counts are compared with a real server's own."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from taskgate.demo.postgres_server import PostgresServer
from taskgate.sql.catalog import Catalog
from taskgate.sql.faults import StatementTooComplex, SyntaxFault, TextFault
from taskgate.sql.postgres import analyze
from tests.integration.sql.conftest import Connection, new_database, read_catalog

SCRIPT = "create table t (a text); create table u (a text); insert into t values ('1'); insert into u values ('1')"


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> Iterator[tuple[Connection, Catalog]]:
    connection = new_database(postgres, "pg07", SCRIPT)
    yield connection, read_catalog(postgres, "pg07")
    connection.close()


def server_tags(connection: Connection, text: str) -> list[str]:
    """The command tags of what the server ran; everything is rolled back."""
    tags = []
    with connection.transaction(force_rollback=True):
        cursor = connection.execute(text.encode())
        while True:
            if cursor.statusmessage:
                tags.append(cursor.statusmessage.split()[0])
            if not cursor.nextset():
                return tags


TEXTS = [
    "select 1; delete from t",
    ";;select 1;;",
    "/* a /* b */ ; delete from t; */ select 1",
    "select 1 -- ; delete from t\n; select 2",
    "select E'\\'; delete from t; --'",
    "select 'a\\'; delete from t; select ''",
    "select U&'\\0061' ; delete from t",
    'select U&"\\0061" from t',
    "select $tag$ ; delete from t; $tag$",
    "select $a$ $b$ ; $a$; delete from u",
    "select $$;$$;delete from t",
    "select ''';delete from t;'''",
    "select 'a'\n'; delete from t'; delete from u",
    'select "a" from t where a = $q$\'$q$; delete from u',
    "select 1/**/;/**/delete/**/from/**/t",
    "SELECT 1;DeLeTe\tFROM\ft",
    "select 'é'; delete from t -- ü",
    "select b'1'; select x'ff'; select n'a'",
    "savepoint a; select 1; release a",
]


@pytest.mark.parametrize("text", TEXTS)
def test_pg_07_statements_are_counted_as_the_server_does(database: tuple[Connection, Catalog], text: str) -> None:
    connection, catalog = database
    found = [facts.tag.split()[0] for facts in analyze(text, catalog, ("public",))]
    assert found == server_tags(connection, text)


@pytest.mark.parametrize("text", ["select '\0'", b"select '\xff'", b"select '\x83\x5c'; delete from t --'"])
def test_pg_07_nul_and_invalid_utf8_are_refused(text: str | bytes) -> None:
    with pytest.raises(TextFault):
        analyze(text, Catalog(), ("public",))


@pytest.mark.parametrize(
    "text", ["select 'open", 'select "open', "select $a$ open", "/* open", "select U&'\\00zz'", "select E'\\xZZ' '"]
)
def test_pg_07_unfinished_texts_are_syntax_errors(database: tuple[Connection, Catalog], text: str) -> None:
    with pytest.raises(SyntaxFault):
        analyze(text, database[1], ("public",))
    with pytest.raises(psycopg.Error):
        server_tags(database[0], text)


SWITCHES = [
    "set standard_conforming_strings = off",
    "set local standard_conforming_strings to false",
    "select set_config('standard_conforming_strings', 'off', false)",
    "select pg_catalog.set_config('STANDARD_CONFORMING_STRINGS', 'off', true)",
    "select set_config('standard_' || 'conforming_strings', 'off', false)",
    "update pg_settings set setting = 'off' where name = 'standard_conforming_strings'",
    "set client_encoding = 'SJIS'",
    "set names 'GBK'",
    "select set_config('client_encoding', 'BIG5', false)",
    "with x as (select set_config('client_encoding', 'SJIS', false)) select 1 from x",
]


@pytest.mark.parametrize("text", SWITCHES)
def test_pg_07_settings_that_change_parsing_are_never_a_plain_set(
    database: tuple[Connection, Catalog], text: str
) -> None:
    """With the switch off the server reads `'\\', ' ; delete …` as two statements where the grammar sees one."""
    connection, catalog = database
    (facts,) = analyze(text, catalog, ("public",))
    assert "sql.unknown" in {pair.effect for pair in facts.pairs}
    assert not facts.complete
    with connection.transaction(force_rollback=True):
        connection.execute(text.encode())  # the server would take it


def test_pg_07_the_proof_that_the_setting_must_be_pinned(database: tuple[Connection, Catalog]) -> None:
    connection, catalog = database
    text = "select '\\', ' ; delete from t where false; --'"
    assert len(analyze(text, catalog, ("public",))) == 1
    assert server_tags(connection, text) == ["SELECT"]
    connection.execute("set standard_conforming_strings = off")
    try:
        assert server_tags(connection, text) == ["SELECT", "DELETE"]
    finally:
        connection.execute("reset standard_conforming_strings")


@pytest.mark.parametrize(
    "text", ["select 1" + "+1" * 100_000, "select " + "(" * 100_000, "select " + "not " * 10_000 + "true"]
)
def test_pg_07_nesting_bombs_are_refused(text: str) -> None:
    with pytest.raises(StatementTooComplex):
        analyze(text, Catalog(), ("public",))
