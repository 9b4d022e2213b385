"""Names that nothing in the catalogue has: which ones a refusal is really about."""

from __future__ import annotations

import pytest

from taskgate.sql.names import DefinitionsChanged, SessionNames
from tests.unit.sql.catalogs import facts, pairs

MISSING = [
    ("select * from nope", [("relation", "nope")]),
    ("select * from audit.nope", [("relation", "audit.nope")]),
    ("insert into nope values (1)", [("relation", "nope")]),
    ("drop table nope", [("relation", "nope")]),
    ("select nope from users", [("column", "nope")]),
    ("select id from users where nope = 1", [("column", "nope")]),
    ("select u.nope from users u", [("column", "u.nope"), ("function", "nope")]),
    ("select x.id from users", [("table", "x")]),
    ("select x.* from users", [("table", "x")]),
    ("select nope(1)", [("function", "nope")]),
    ("select audit.nope(1)", [("function", "audit.nope")]),
    ("with a as (select 1 as b) select c from a", [("column", "c")]),
    ("explain select * from nope", [("relation", "nope")]),
]


@pytest.mark.parametrize(("text", "expected"), MISSING, ids=[text for text, _ in MISSING])
def test_missing(text: str, expected: list[tuple[str, str]]) -> None:
    assert list(facts(text).missing) == expected


@pytest.mark.parametrize(
    "text",
    [
        "select id from users",
        "select u.lower from users u",  # a function's name: `lower(u)`
        "select pg_sleep(1)",  # there, and not listed
        "select secret(1)",
        "select nope.x from nope() as nope",  # of unknown columns
        "drop table if exists nope",
    ],
)
def test_nothing_is_missing(text: str) -> None:
    assert [name for name in facts(text).missing if name.kind != "function"] == []


DROPS = [
    ("drop table if exists nope", ["ddl public.nope"]),
    ("drop table if exists audit.nope, users", ["ddl audit.nope", "ddl public.users"]),
    ("drop table if exists app.audit.nope", ["ddl audit.nope"]),
    ("drop table if exists other.audit.nope", ["ddl other.audit.nope (unresolved)"]),
    ("drop index if exists nope", ["ddl public.nope"]),
    ("drop function if exists nope(int)", ["ddl public.nope"]),
    ("drop type if exists nope", ["ddl public.nope"]),
]


@pytest.mark.parametrize(("text", "expected"), DROPS, ids=[text for text, _ in DROPS])
def test_what_may_rightly_not_be_there_is_named_in_full(text: str, expected: list[str]) -> None:
    assert pairs(text) == expected
    assert facts(text).complete


def test_it_would_be_in_any_schema_of_the_path_that_exists() -> None:
    assert pairs("drop table if exists nope", path=("gone", "audit", "public", "pg_catalog")) == [
        "ddl audit.nope",
        "ddl public.nope",
    ]
    assert pairs("drop table if exists nope", path=("gone",)) == ["ddl nope (unresolved)"]


def test_nothing_is_certain_once_the_session_has_renamed_things() -> None:
    names = SessionNames()
    names.stage([DefinitionsChanged(renamed=True)])
    assert pairs("drop table if exists nope", names=names) == ["ddl nope (unresolved)"]
    assert not facts("drop table if exists nope", names=names).complete
