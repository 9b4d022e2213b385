"""A small catalogue, and short ways to ask about a statement."""

from __future__ import annotations

from taskgate.sql.catalog import Catalog, Column, Relation
from taskgate.sql.facts import StatementFacts
from taskgate.sql.names import SessionNames
from taskgate.sql.postgres import analyze


def columns(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, number) for number, name in enumerate(names, 1))


def view(oid: int, name: str, definition: str, *names: str, kind: str = "v") -> Relation:
    return Relation(oid, "public", name, columns(*names), kind, definition)


CATALOG = Catalog(
    version=1,
    database="app",
    relations=(
        Relation(1, "public", "users", columns("id", "name", "ssn", "email")),
        Relation(2, "public", "orders", columns("id", "user_id", "total")),
        Relation(3, "public", "notes", columns("id", "body")),
        Relation(4, "audit", "users", columns("id", "seen")),
        Relation(5, "public", "people", columns("id", "ssn"), "p"),
        Relation(6, "public", "people_a", columns("id", "ssn"), parents=(5,)),
        Relation(7, "public", "ruled", columns("id"), rules=True),
        Relation(8, "public", "made", (Column("id", 1), Column("twice", 2, generated=True), Column("ssn", 3))),
        Relation(9, "pg_catalog", "pg_class", columns("oid", "relname")),
        Relation(10, "pg_catalog", "pg_settings", columns("name", "setting"), "v"),
        view(20, "v_plain", "SELECT users.id AS uid, users.ssn AS tax FROM public.users;", "uid", "tax"),
        view(21, "v_deep", "SELECT v.uid, COALESCE(v.tax, '-') AS tax FROM public.v_plain v;", "uid", "tax"),
        view(22, "v_computed", "SELECT u.id, (u.ssn || '!') AS shout FROM public.users u;", "id", "shout"),
        view(23, "v_filtered", "SELECT u.id FROM public.users u WHERE (u.ssn <> ''::text);", "id"),
        view(24, "v_calls", "SELECT public.secret(u.id) AS x FROM public.users u;", "x"),
        view(25, "m_plain", "SELECT users.ssn FROM public.users;", "ssn", kind="m"),
        view(26, "v_broken", "SELECT FROM WHERE", "x"),
    ),
    schemas=frozenset({"public", "audit", "pg_catalog", "information_schema"}),
    functions={
        "secret": ("public",),
        "lower": ("audit",),
        "pg_sleep": ("pg_catalog",),
        "nextval": ("pg_catalog",),
        "table_to_xml": ("pg_catalog",),
        "archive": ("public",),
    },
    operators={"=": ("audit",), "===": ("public",)},
    types={"mood": {"public": "e"}, "email": {"public": "d"}, "blob": {"public": "b"}, "cast_me": {"public": "c"}},
    casts={"public.cast_me": "public.to_cast_me"},
)


def facts(text: str, *, path: tuple[str, ...] = ("public",), names: SessionNames | None = None) -> StatementFacts:
    """The facts of a single statement."""
    (found,) = analyze(text, CATALOG, path, names)
    return found


def pairs(text: str, **options: object) -> list[str]:
    return sorted(str(pair).removeprefix("sql.") for pair in facts(text, **options).pairs)  # type: ignore[arg-type]


def outputs(text: str) -> list[tuple[str, list[str], bool]] | None:
    """(name, sources without `public.`, bare) of every column."""
    found = facts(text).outputs
    if found is None:
        return None
    return [
        (column.name, sorted(source.removeprefix("public.") for source in column.sources), column.bare)
        for column in found
    ]


def outside(text: str) -> list[str]:
    return sorted(column.removeprefix("public.") for column in facts(text).columns_outside_output)


def flowing(text: str) -> list[str]:
    return sorted(column.removeprefix("public.") for column in facts(text).columns_flowing)
