"""The snapshot: resolution, origins, closures."""

from __future__ import annotations

import pytest

from taskgate.sql import catalog_json
from taskgate.sql.catalog import Catalog, Relation
from tests.unit.sql.catalogs import CATALOG, columns


@pytest.mark.parametrize(
    ("parts", "path", "expected"),
    [
        (("users",), ("public",), "public.users"),
        (("users",), ("audit", "public"), "audit.users"),
        (("users",), ("gone", "public"), "public.users"),
        (("users",), (), None),
        (("audit", "users"), ("public",), "audit.users"),
        (("app", "public", "users"), (), "public.users"),
        (("other", "public", "users"), ("public",), None),
        (("pg_class",), ("public",), "pg_catalog.pg_class"),
        (("pg_class",), ("public", "pg_catalog"), "pg_catalog.pg_class"),
        (("Users",), ("public",), None),
    ],
)
def test_resolve(parts: tuple[str, ...], path: tuple[str, ...], expected: str | None) -> None:
    found = CATALOG.resolve(parts, path)
    assert (found.full_name if found else None) == expected


def test_a_schema_before_pg_catalog_shadows_it() -> None:
    catalog = Catalog(relations=(Relation(1, "public", "pg_class"), Relation(2, "pg_catalog", "pg_class")))
    assert catalog.resolve(("pg_class",), ("public",)) == catalog.by_oid(2)
    assert catalog.resolve(("pg_class",), ("public", "pg_catalog")) == catalog.by_oid(1)


def test_origin() -> None:
    assert CATALOG.origin("public.users.ssn") == (1, 3)
    assert CATALOG.origin("public.v_plain.tax") == (20, 2)
    assert CATALOG.origin("public.users.gone") is None


def test_closure_goes_through_views_and_partitions() -> None:
    assert CATALOG.closure(["public.users.ssn"]) == {
        "public.users.ssn", "public.v_plain.tax", "public.v_deep.tax", "public.v_computed.shout", "public.m_plain.ssn",
        "public.v_broken.x",
    }  # fmt: skip
    assert {"public.people.ssn", "public.people_a.ssn"} <= CATALOG.closure(["public.people.ssn"])
    assert {"public.people.ssn", "public.people_a.ssn"} <= CATALOG.closure(["public.people_a.ssn"])


def test_closure_of_several_levels() -> None:
    catalog = Catalog(
        relations=(
            Relation(1, "public", "a", columns("x"), "p"),
            Relation(2, "public", "b", columns("x"), "p", parents=(1,)),
            Relation(3, "public", "c", columns("x"), parents=(2,)),
            Relation(4, "public", "v", columns("y"), "v", "SELECT c.x AS y FROM public.c"),
        )
    )
    assert catalog.closure(["public.a.x"]) == {"public.a.x", "public.b.x", "public.c.x", "public.v.y"}


def test_json_round_trip_and_version() -> None:
    versioned = catalog_json.versioned(CATALOG)
    again = catalog_json.loads(catalog_json.dumps(CATALOG))
    assert again == catalog_json.loads(catalog_json.dumps(versioned))
    assert again.version == versioned.version != 0
    assert again.relations == tuple(sorted(CATALOG.relations, key=lambda relation: relation.oid))


def test_the_version_is_of_the_contents() -> None:
    shuffled = Catalog(
        **{
            **{name: getattr(CATALOG, name) for name in CATALOG.__dataclass_fields__},
            "relations": CATALOG.relations[::-1],
        }
    )
    assert catalog_json.versioned(shuffled).version == catalog_json.versioned(CATALOG).version
    less = Catalog(relations=CATALOG.relations[:-1])
    assert catalog_json.versioned(less).version != catalog_json.versioned(CATALOG).version


@pytest.mark.parametrize("data", ["{}", "[]", "null", '{"relations": 1}', "nonsense", '{"database": ""}'])
def test_json_that_is_no_catalogue(data: str) -> None:
    with pytest.raises(ValueError):
        catalog_json.loads(data)
