"""The table of built-in types against the servers' own catalogues."""

from __future__ import annotations

import psycopg

from taskgate.demo.postgres_server import PostgresServer
from taskgate.protocols.postgres import types
from taskgate.speed import ARRAY, SKIP

# Categories (pg_type.typcategory) whose values are made of free text.
_STRINGS, _ARRAYS, _COMPOSITES, _ENUMS, _UNKNOWN = "S", "A", "C", "E", "X"


def _types(server: PostgresServer) -> dict[int, tuple[str, str, int]]:
    with psycopg.connect(server.dsn()) as connection:
        rows = connection.execute(
            "SELECT oid::int8, typname, typcategory, typelem::int8 FROM pg_type WHERE oid < 16384 AND typtype <> 'c'"
        ).fetchall()
    return {oid: (name, category, element) for oid, name, category, element in rows}


def test_no_type_of_free_text_is_left_unsearched(postgres: PostgresServer) -> None:
    known = _types(postgres)
    for oid in types.NEVER_SEARCHED & known.keys():
        name, category, element = known[oid]
        if category == _ARRAYS:
            assert element in types.NEVER_SEARCHED, name
        else:
            assert category not in (_STRINGS, _COMPOSITES, _ENUMS, _UNKNOWN), name


def test_text_like_types_are_strings(postgres: PostgresServer) -> None:
    known = _types(postgres)
    for oid in types.TEXT_LIKE:
        name, category, _ = known[oid]
        assert category in (_STRINGS, _UNKNOWN, "P") or name in ("xml", "refcursor"), name


def test_arrays_are_read_as_their_elements(postgres: PostgresServer) -> None:
    for oid, (name, category, element) in _types(postgres).items():
        array, single = types.reading(oid, binary=True), types.reading(element, binary=True)
        if array is not None and array.kind >= ARRAY:
            assert category == _ARRAYS, name
            assert single is not None, name
            assert array.kind - ARRAY == single.kind, name


def test_what_the_table_does_not_know_becomes_text(postgres: PostgresServer) -> None:
    """A type that a later version adds is searched as text until somebody looks at it."""
    for oid, (name, _, _) in _types(postgres).items():
        found = types.reading(oid, binary=True)
        assert found is None or found.kind != SKIP or oid in types.NEVER_SEARCHED, name
