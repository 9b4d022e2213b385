"""SET, RESET, set_config()."""

from __future__ import annotations

import pytest

from taskgate.sql import settings
from tests.unit.sql.catalogs import facts, pairs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("set search_path = a, b", "set search_path"),
        ("set schema 'a'", "set search_path"),
        ("set local Work_Mem to '1MB'", "set work_mem"),
        ("set time zone 'utc'", "set timezone"),
        ("set names 'utf8'", "set client_encoding"),
        ("set client_encoding to 'UTF-8'", "set client_encoding"),
        ("set standard_conforming_strings = on", "set standard_conforming_strings"),
        ("set standard_conforming_strings = 'true'", "set standard_conforming_strings"),
        ("reset standard_conforming_strings", "set standard_conforming_strings"),
        ("set client_encoding to default", "set client_encoding"),
        ("set role admin", "set role"),
        ("reset role", "set role"),
        ("set session authorization 'x'", "set session_authorization"),
        ("set my.thing = 1", "set my.thing"),
        ("set transaction_read_only = off", "transaction set read write"),
        ("set transaction_read_only = on", "transaction set read only"),
        ("reset transaction_read_only", "transaction set read write"),
        ("set default_transaction_read_only = off", "transaction session read write"),
        ("set default_transaction_read_only = $$on$$", "transaction session read only"),
        ("reset default_transaction_read_only", "set default_transaction_read_only"),
        ("select set_config('jit', 'off', false)", "set jit"),
        ("select set_config('Search_Path', '', false)", "set search_path"),
        ("select pg_catalog.set_config('jit'::text, $1, false)", "set jit"),
        ("select set_config('client_encoding', 'UTF8', false)", "set client_encoding"),
        ("select set_config('transaction_read_only', 'off', true)", "transaction set read write"),
    ],
)
def test_known(text: str, expected: str) -> None:
    assert pairs(text) == [expected]
    assert facts(text).complete


def test_a_name_that_where_holds_to_a_constant() -> None:
    """pg_dump does this, so that an older server without the setting does nothing."""
    found = facts("SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'jit'")
    assert found.complete
    assert sorted(str(pair) for pair in found.pairs) == ["sql.select pg_catalog.pg_settings", "sql.set jit"]


@pytest.mark.parametrize(
    "text",
    [
        "select set_config(name, 'x', false) from pg_settings where name <> 'jit'",
        "select set_config(name, 'x', false) from pg_settings where name = 'jit' or true",
        "select set_config(name, 'x', false) from pg_settings where setting = 'jit'",
        "select set_config(name, 'x', false) from pg_settings, users where name = 'jit'",
        "select set_config(name, 'x', false) from (select 'role' as name) s where name = 'jit'",
        "select set_config(name, 'off', false) from pg_settings where name = 'standard_conforming_strings'",
        "select (select set_config(name, 'x', false)) from pg_settings where name = 'jit'",
        "set names 'sjis'",
        "set client_encoding to latin1",
        "set standard_conforming_strings = off",
        "set standard_conforming_strings = 0",
        "set standard_conforming_strings to 'of'",
        "select set_config('standard_conforming_strings', 'off', false)",
        "select set_config('standard_conforming_strings', $1, false)",
        "select set_config('client_encoding', 'u' || 'tf8', false)",
        "select set_config($1, 'x', false)",
        "select set_config('standard_' || 'conforming_strings', 'off', false)",
        "select set_config(name, setting, false) from pg_settings",
        "select 1 from users where set_config('client_encoding', 'gbk', true) = ''",
        "insert into notes values (set_config('client_encoding', 'gbk', true))",
        "select set_config(variadic array['client_encoding', 'gbk', 'f'])",
    ],
)
def test_unknown(text: str) -> None:
    found = facts(text)
    assert "sql.unknown" in [pair.effect for pair in found.pairs]
    assert not found.complete


def test_the_lists_do_not_overlap() -> None:
    assert not settings.ALLOWED & settings.IDENTITY
    assert not settings.ALLOWED & settings.READ_ONLY
    assert not settings.ALLOWED & set(settings.PINNED)
    assert all(name == name.lower() for name in settings.ALLOWED)
