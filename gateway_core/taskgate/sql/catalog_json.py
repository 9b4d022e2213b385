"""A catalogue snapshot as JSON: what `policy explain` and tests use where no server is at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from taskgate.sql.catalog import Catalog, Column, Relation


def dumps(catalog: Catalog) -> bytes:
    """Canonical: equal catalogues give equal bytes (relations by oid, names sorted). The version is not part of it."""
    return orjson.dumps(_plain(catalog), option=orjson.OPT_SORT_KEYS)


def loads(data: bytes | str) -> Catalog:
    """Raises ValueError for anything that `dumps` does not write."""
    try:
        plain = orjson.loads(data)
        return versioned(
            Catalog(
                database=plain["database"],
                server_version=plain["server_version"],
                relations=tuple(_relation(entry) for entry in plain["relations"]),
                schemas=frozenset(plain["schemas"]),
                functions={name: tuple(schemas) for name, schemas in plain["functions"].items()},
                operators={name: tuple(schemas) for name, schemas in plain["operators"].items()},
                types=plain["types"],
                casts=plain["casts"],
            )
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"not a catalogue: {error!r}") from error


def versioned(catalog: Catalog) -> Catalog:
    """With the version that its contents have: 63 bits of a digest."""
    digest = hashlib.sha256(dumps(catalog)).digest()
    return replace(catalog, version=int.from_bytes(digest[:8], "big") >> 1)


def _plain(catalog: Catalog) -> Mapping[str, object]:
    return {
        "database": catalog.database,
        "server_version": catalog.server_version,
        "relations": [
            {
                "oid": relation.oid,
                "schema": relation.schema,
                "name": relation.name,
                "kind": relation.kind,
                "columns": [[column.name, column.number, column.type, column.generated] for column in relation.columns],
                "definition": relation.definition,
                "parents": sorted(relation.parents),
                "rules": relation.rules,
            }
            for relation in sorted(catalog.relations, key=lambda relation: relation.oid)
        ],
        "schemas": sorted(catalog.schemas),
        "functions": {name: sorted(schemas) for name, schemas in catalog.functions.items()},
        "operators": {name: sorted(schemas) for name, schemas in catalog.operators.items()},
        "types": {name: dict(schemas) for name, schemas in catalog.types.items()},
        "casts": dict(catalog.casts),
    }


def _relation(entry: Mapping[str, Any]) -> Relation:
    return Relation(
        oid=entry["oid"],
        schema=entry["schema"],
        name=entry["name"],
        columns=tuple(Column(*column) for column in entry["columns"]),
        kind=entry["kind"],
        definition=entry["definition"],
        parents=tuple(entry["parents"]),
        rules=entry["rules"],
    )
