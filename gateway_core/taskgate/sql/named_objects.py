"""What statements about named things share: the object's pair, and the note that definitions have changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskgate.sql.analysis import Analysis, string, strings
from taskgate.sql.facts import StatementFacts
from taskgate.sql.names import DefinitionsChanged

Node = dict[str, Any]

RELATIONS = {
    "OBJECT_TABLE",
    "OBJECT_VIEW",
    "OBJECT_MATVIEW",
    "OBJECT_SEQUENCE",
    "OBJECT_INDEX",
    "OBJECT_FOREIGN_TABLE",
}
_ON_RELATIONS = {"OBJECT_TRIGGER", "OBJECT_RULE", "OBJECT_POLICY", "OBJECT_COLUMN", "OBJECT_TABCONSTRAINT"}
CODE = {
    "OBJECT_FUNCTION", "OBJECT_PROCEDURE", "OBJECT_ROUTINE", "OBJECT_AGGREGATE", "OBJECT_OPERATOR", "OBJECT_CAST",
    "OBJECT_TYPE", "OBJECT_DOMAIN", "OBJECT_OPCLASS", "OBJECT_OPFAMILY", "OBJECT_EXTENSION", "OBJECT_SCHEMA",
}  # fmt: skip
_ROUTINES = {"OBJECT_FUNCTION", "OBJECT_PROCEDURE", "OBJECT_ROUTINE", "OBJECT_AGGREGATE"}
_TYPES = {"OBJECT_TYPE", "OBJECT_DOMAIN"}
_ADMIN = {
    "OBJECT_EXTENSION", "OBJECT_FDW", "OBJECT_FOREIGN_SERVER", "OBJECT_LANGUAGE", "OBJECT_TABLESPACE",
    "OBJECT_DATABASE", "OBJECT_EVENT_TRIGGER", "OBJECT_ACCESS_METHOD", "OBJECT_PUBLICATION", "OBJECT_SUBSCRIPTION",
    "OBJECT_ROLE", "OBJECT_USER_MAPPING", "OBJECT_LARGEOBJECT",
}  # fmt: skip


def finished(a: Analysis, tag: str, *, code: bool = False, renamed: bool = False) -> StatementFacts:
    a.name_changes.append(DefinitionsChanged(code=code, renamed=renamed))
    return a.facts(tag, changes=True)


def named_object(a: Analysis, effect: str, kind: str, node: Node, *, if_exists: bool = False) -> None:
    """A pair for an object as DROP, ALTER, RENAME and COMMENT name it. `if_exists`: it may rightly not be there, and
    then there is one for everything it would be."""
    inner_kind, fields = next(iter(node.items())) if node else ("", {})
    parts = strings(fields.get("items", ())) if inner_kind == "List" else []
    if inner_kind == "String":
        parts = [string(node)]
    elif inner_kind == "TypeName":
        parts = strings(fields.get("names", ()))
    elif inner_kind == "ObjectWithArgs":
        parts = strings(fields.get("objname", ()))
    if kind in _ON_RELATIONS and len(parts) > 1:
        kind, parts = "OBJECT_TABLE", parts[:-1]
    if kind in RELATIONS and parts:
        name = dict(zip(("relname", "schemaname", "catalogname"), reversed(parts), strict=False))
        places = a.places(name) if if_exists and not a.knows(name) else ()
        for place in places:
            a.pair(effect, place)
        if not places:
            a.relation(name, effect)
        return
    written = ".".join(parts)
    if len(parts) == 1 and kind in _ROUTINES:
        schemas = a.catalog.shadowed(a.catalog.functions, written, a.path)
        for schema in schemas:
            a.pair(effect, f"{schema}.{written}")
        if schemas:
            return
    elif len(parts) == 1 and kind in _TYPES:
        found = [schema for schema in a.path if schema in a.catalog.types.get(written, {})]
        for schema in found[:1]:
            a.pair(effect, f"{schema}.{written}")
        if found:
            return
    if if_exists and len(parts) == 1 and kind in _ROUTINES | _TYPES:
        places = a.places({"relname": written})
        for place in places:
            a.pair(effect, place)
        if places:
            return
    qualified = len(parts) > 1 or kind in ("OBJECT_SCHEMA", *_ADMIN)
    a.pair(effect, written or kind.removeprefix("OBJECT_").lower().replace("_", " "), resolved=qualified or not written)


def effect_on(kind: str) -> str:
    return "admin" if kind in _ADMIN else "ddl"


def plain(effect: str, tag: str, *keys: str, code: bool = False) -> Callable[[Analysis, Node], StatementFacts]:
    """Statements whose object, if any, is a name under one of `keys`."""

    def statement(a: Analysis, fields: Node) -> StatementFacts:
        name = next((fields[key] for key in keys if isinstance(fields.get(key), str)), "")
        a.pair(effect, name)
        return finished(a, tag, code=code)

    return statement
