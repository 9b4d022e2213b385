"""What code a statement may call: functions, operators, casts, and who may stand in front of them."""

# ruff: noqa: E501  (tables of statements)

from __future__ import annotations

import pytest

from taskgate.sql.catalog import Catalog
from taskgate.sql.postgres import analyze
from tests.unit.sql.catalogs import facts, pairs


@pytest.mark.parametrize(
    "text", ["select lower('a')", "select pg_catalog.lower('a')", "select count(*), now(), version()"]
)
def test_listed_functions(text: str) -> None:
    assert facts(text).complete
    assert pairs(text) == ["select"]


def test_functions_are_named() -> None:
    assert facts("select lower('a'), secret(1)").functions == {"pg_catalog.lower", "public.secret"}


def test_a_function_in_the_path_may_be_the_one_that_runs() -> None:
    """PostgreSQL prefers the better match, wherever it is in the path (CVE-2018-1058)."""
    assert pairs("select lower('a')", path=("public", "audit")) == ["call audit.lower"]
    assert pairs("select lower('a')", path=("public",)) == ["select"]
    assert pairs("select pg_catalog.lower('a')", path=("audit",)) == ["select"]


@pytest.mark.parametrize(
    "name", ["table_to_xml", "query_to_xml", "pg_read_file", "lo_import", "lo_get", "dblink", "nextval", "setval", "currval",
             "pg_notify", "pg_advisory_lock", "pg_terminate_backend", "pg_stat_get_activity", "ts_stat", "ts_rewrite", "pg_sleep",
             "cursor_to_xml", "database_to_xml", "pg_ls_dir", "set_byte2", "xpath_table", "pg_logical_emit_message", "txid_current"],
)  # fmt: skip
def test_unlisted_functions(name: str) -> None:
    for text in (
        f"select {name}('a')",
        f"select pg_catalog.{name}('a')",
        f"select * from {name}('a')",
        f"select {name}() over ()",
    ):
        assert not facts(text).complete, text
        assert any(pair.startswith("call") for pair in pairs(text)), text


@pytest.mark.parametrize(
    "text",
    [
        "select 1 === 2",
        "select 1 operator(public.===) 2",
        "select 1 operator(audit.=) 2",
        "select 1 order by 1 using ===",
    ],
)
def test_operators_of_users(text: str) -> None:
    assert not facts(text).complete


@pytest.mark.parametrize(
    "text",
    ["select 1 = 2", "select 1 operator(pg_catalog.=) 2", "select 1 in (1)", "select case 1 when 1 then 1 end",
     "select 'a' like 'b'", "select 1 between 2 and 3", "select nullif(1, 2)", "select 1 = any (array[1])",
     "select * from users join orders using (id)", "select 1 in (select 2)", "select 1 is distinct from 2"],
)  # fmt: skip
def test_operators_of_postgres(text: str) -> None:
    assert facts(text).complete
    if "=" in text or "in" in text or "like" not in text:
        shadowed = facts(text, path=("audit", "public")).complete
        assert shadowed == ("operator(pg_catalog.=)" in text or "between" in text or "like" in text)


@pytest.mark.parametrize("text", ["select 'a'::text", "select 'a'::mood", "select 'a'::public.email", "select '1'::int[]", "select '(1)'::users"])  # fmt: skip
def test_casts_that_only_convert(text: str) -> None:
    assert facts(text).complete


@pytest.mark.parametrize("text", ["select 'a'::blob", "select 'a'::public.blob", "select 'a'::cast_me", "select cast('a' as public.cast_me)", "select 'a'::gone.type"])  # fmt: skip
def test_casts_that_may_run_code(text: str) -> None:
    assert not facts(text).complete


def test_casts_to_shipped_types_with_a_user_function() -> None:
    catalog = Catalog(casts={"pg_catalog.int4": "public.to_int"})
    (found,) = analyze("select 'a'::int", catalog, ("public",))
    assert [str(pair) for pair in found.pairs] == ["sql.call public.to_int"]


def test_pg_temp_and_pg_catalog_come_first() -> None:
    assert pairs("select * from pg_class", path=("public", "audit")) == ["select pg_catalog.pg_class"]


def test_other_databases_are_unresolved() -> None:
    assert pairs("select * from other.public.users") == ["select other.public.users (unresolved)"]
    assert pairs("select * from app.public.users") == ["select public.users"]


def test_temporary_schemas_of_other_sessions_are_unresolved() -> None:
    assert pairs("select * from pg_temp_3.t") == ["select pg_temp_3.t (unresolved)"]
    assert pairs("select * from pg_temp.t") == ["select pg_temp.t (unresolved)"]
    assert pairs("select * from pg_toast.pg_toast_1") == ["select pg_toast.pg_toast_1 (unresolved)"]
