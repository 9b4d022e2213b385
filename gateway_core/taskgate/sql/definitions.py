"""DDL, DCL and administration: which objects a statement defines, changes, drops or hands out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from taskgate.sql import expressions, modifications, queries
from taskgate.sql.analysis import Analysis, string, strings
from taskgate.sql.facts import StatementFacts
from taskgate.sql.names import DefinitionsChanged, RelationCreated, RelationDropped, SessionRelation
from taskgate.sql.scope import NO_SOURCES, Item, Range, Scope, Shape, Value

Node = dict[str, Any]

_RELATIONS = {
    "OBJECT_TABLE",
    "OBJECT_VIEW",
    "OBJECT_MATVIEW",
    "OBJECT_SEQUENCE",
    "OBJECT_INDEX",
    "OBJECT_FOREIGN_TABLE",
}
_ON_RELATIONS = {"OBJECT_TRIGGER", "OBJECT_RULE", "OBJECT_POLICY", "OBJECT_COLUMN", "OBJECT_TABCONSTRAINT"}
_CODE = {
    "OBJECT_FUNCTION", "OBJECT_PROCEDURE", "OBJECT_ROUTINE", "OBJECT_AGGREGATE", "OBJECT_OPERATOR", "OBJECT_CAST",
    "OBJECT_TYPE", "OBJECT_DOMAIN", "OBJECT_OPCLASS", "OBJECT_OPFAMILY", "OBJECT_EXTENSION", "OBJECT_SCHEMA",
}  # fmt: skip
_ADMIN = {
    "OBJECT_EXTENSION", "OBJECT_FDW", "OBJECT_FOREIGN_SERVER", "OBJECT_LANGUAGE", "OBJECT_TABLESPACE",
    "OBJECT_DATABASE", "OBJECT_EVENT_TRIGGER", "OBJECT_ACCESS_METHOD", "OBJECT_PUBLICATION", "OBJECT_SUBSCRIPTION",
    "OBJECT_ROLE", "OBJECT_USER_MAPPING", "OBJECT_LARGEOBJECT",
}  # fmt: skip


def _finished(a: Analysis, tag: str, *, code: bool = False, renamed: bool = False) -> StatementFacts:
    a.name_changes.append(DefinitionsChanged(code=code, renamed=renamed))
    return a.facts(tag, changes=True)


def _existing(a: Analysis, name: Node, *effects: str) -> Range:
    """An existing relation that is changed. Checking constraints, building indexes and rewriting read every column, and
    their errors quote values."""
    found = a.relation(name, *effects)
    a.read |= found.shape.taint
    return found


def _inside(a: Analysis, fields: Node, shape: Shape, name: str = "") -> None:
    """Expressions inside a definition (defaults, checks, USING, index expressions) run while it is made."""
    scope = Scope()
    scope.items = [Item(shape, [Range(name, shape, stored=True)])]
    expressions.used(a, {"Definition": fields}, scope)


def _range_vars(fields: Any) -> Iterator[Node]:
    if isinstance(fields, list):
        for entry in fields:
            yield from _range_vars(entry)
    elif isinstance(fields, dict):
        if "relname" in fields:
            yield fields
        else:
            for entry in fields.values():
                yield from _range_vars(entry)


# --- relations ---


def _create_table(a: Analysis, fields: Node) -> StatementFacts:
    base = fields.get("base", fields)
    schema, table = a.creation_name(base["relation"])
    a.pair("ddl", f"{schema}.{table}" if schema else table, resolved=bool(schema))
    elements = base.get("tableElts", [])
    exact = not base.keys() & {"inhRelations", "ofTypename"} and all(
        "TableLikeClause" not in entry for entry in elements
    )
    names = [entry["ColumnDef"]["colname"] for entry in elements if "ColumnDef" in entry]
    for entry in elements:
        if "TableLikeClause" in entry:
            a.relation(entry["TableLikeClause"]["relation"], "select")
    for parent in base.get("inhRelations", ()):
        a.relation(parent["RangeVar"], "ddl")
    for referred in _range_vars([entry for entry in elements if "TableLikeClause" not in entry]):
        a.relation(referred, "ddl")  # foreign keys
    _inside(a, {"tableElts": elements}, Shape.of(tuple((name, Value()) for name in names), open=not exact))
    columns = tuple((name, NO_SOURCES) for name in names) if exact else None
    a.name_changes.append(RelationCreated(SessionRelation(schema, table, columns)))
    return _finished(a, "CREATE TABLE")


def _alter_table(a: Analysis, fields: Node) -> StatementFacts:
    found = _existing(a, fields["relation"], "ddl")
    renames = False
    for entry in fields.get("cmds", ()):
        command = entry["AlterTableCmd"]
        subtype = command.get("subtype", "")
        if subtype == "AT_ChangeOwner":
            for relation in found.locks:
                a.pair("dcl", relation, resolved=not a.is_unresolved(relation))
        renames = renames or subtype in ("AT_AddColumn", "AT_DropColumn", "AT_AddInherit", "AT_AttachPartition")
        for other in _range_vars(command):
            a.relation(other, "ddl")
    _inside(a, {"cmds": fields.get("cmds", [])}, found.shape, found.name)
    return _finished(a, "ALTER TABLE", code=fields.get("objtype") == "OBJECT_TYPE", renamed=renames)


def _on_relation(tag: str, *, inside: bool = False) -> Callable[[Analysis, Node], StatementFacts]:
    """Statements that change something about one relation."""

    def statement(a: Analysis, fields: Node) -> StatementFacts:
        found = _existing(a, fields.get("relation") or fields["table"], "ddl")
        if inside:
            rest = {key: entry for key, entry in fields.items() if key != "relation"}
            _inside(a, rest, found.shape, found.name)
        return _finished(a, tag)

    return statement


def _create_view(a: Analysis, fields: Node) -> StatementFacts:
    result = queries.query(a, fields["query"], None)
    into = {"rel": fields["view"], "colNames": fields.get("aliases", [])}
    modifications.into(a, into, result)
    return _finished(a, "CREATE VIEW", renamed=bool(fields.get("replace")))


def _sequence(a: Analysis, fields: Node) -> StatementFacts:
    if "ownerId" in fields or fields.get("for_identity"):
        a.unknown("CREATE SEQUENCE")
    schema, name = a.creation_name(fields["sequence"])
    a.pair("ddl", f"{schema}.{name}", resolved=bool(schema))
    a.name_changes.append(RelationCreated(SessionRelation(schema, name, None)))
    return _finished(a, "CREATE SEQUENCE")


def _alter_sequence(a: Analysis, fields: Node) -> StatementFacts:
    _existing(a, fields["sequence"], "ddl")
    return _finished(a, "ALTER SEQUENCE")


def _create_schema(a: Analysis, fields: Node) -> StatementFacts:
    from taskgate.sql.statements import statement

    name = fields.get("schemaname", "")
    a.pair("ddl", name)
    for element in fields.get("schemaElts", ()):
        inner = statement(a.child(), element)
        a.include(inner)
    return _finished(a, "CREATE SCHEMA", code=True)


# --- anything by kind ---


def _object(a: Analysis, effect: str, kind: str, node: Node) -> None:
    """A pair for an object as DROP, ALTER, RENAME and COMMENT name it."""
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
    if kind in _RELATIONS and parts:
        keys = ("relname", "schemaname", "catalogname")
        a.relation(dict(zip(keys, reversed(parts), strict=False)), effect)
        return
    name = ".".join(parts)
    if len(parts) == 1 and kind in ("OBJECT_FUNCTION", "OBJECT_PROCEDURE", "OBJECT_ROUTINE", "OBJECT_AGGREGATE"):
        schemas = a.catalog.shadowed(a.catalog.functions, name, a.path)
        for schema in schemas:
            a.pair(effect, f"{schema}.{name}")
        if schemas:
            return
    elif len(parts) == 1 and kind in ("OBJECT_TYPE", "OBJECT_DOMAIN"):
        found = [schema for schema in a.path if schema in a.catalog.types.get(name, {})]
        for schema in found[:1]:
            a.pair(effect, f"{schema}.{name}")
        if found:
            return
    qualified = len(parts) > 1 or kind in ("OBJECT_SCHEMA", *_ADMIN)
    a.pair(effect, name or kind.removeprefix("OBJECT_").lower().replace("_", " "), resolved=qualified or not name)


def _effect(kind: str) -> str:
    return "admin" if kind in _ADMIN else "ddl"


def _drop(a: Analysis, fields: Node) -> StatementFacts:
    kind = fields.get("removeType", "")
    for node in fields.get("objects", ()):
        _object(a, _effect(kind), kind, node)
        if kind in _RELATIONS and "List" in node:
            parts = strings(node["List"]["items"])
            a.name_changes.append(RelationDropped(parts[-2] if len(parts) > 1 else None, parts[-1]))
    return _finished(a, f"DROP {kind.removeprefix('OBJECT_').replace('_', ' ')}", code=kind in _CODE)


def _moved(tag: str, effect: str | None = None) -> Callable[[Analysis, Node], StatementFacts]:
    """RENAME, SET SCHEMA, OWNER TO: by relation or by object."""

    def statement(a: Analysis, fields: Node) -> StatementFacts:
        kind = fields.get("renameType") or fields.get("objectType") or ""
        if "relation" in fields:
            _existing(a, fields["relation"], effect or "ddl")
        else:
            _object(a, effect or _effect(kind), kind, fields.get("object", {}))
        return _finished(a, tag, code=kind in _CODE, renamed=effect is None)

    return statement


def _comment(a: Analysis, fields: Node) -> StatementFacts:
    kind = fields.get("objtype", "")
    _object(a, _effect(kind), kind, fields.get("object", {}))
    return _finished(a, "COMMENT")


def _made(tag: str, key: str, *, code: bool = True) -> Callable[[Analysis, Node], StatementFacts]:
    """CREATE or ALTER of something named by `key`: a list of strings or an ObjectWithArgs."""

    def statement(a: Analysis, fields: Node) -> StatementFacts:
        named = fields.get(key, [])
        parts = strings(named.get("objname", ()) if isinstance(named, dict) else named)
        if len(parts) == 1:
            schema = a.creation_name({"relname": parts[0]})[0]
            parts = [schema, *parts] if schema else parts
        a.pair("ddl", ".".join(parts) or tag.lower(), resolved=len(parts) != 1)
        return _finished(a, tag, code=code)

    return statement


def _plain(effect: str, tag: str, *keys: str, code: bool = False) -> Callable[[Analysis, Node], StatementFacts]:
    """Statements whose object, if any, is a name under one of `keys`."""

    def statement(a: Analysis, fields: Node) -> StatementFacts:
        name = next((fields[key] for key in keys if isinstance(fields.get(key), str)), "")
        a.pair(effect, name)
        return _finished(a, tag, code=code)

    return statement


# --- DCL ---


def _grant(a: Analysis, fields: Node) -> StatementFacts:
    kind = fields.get("objtype", "")
    objects = fields.get("objects", [])
    for node in objects:
        if "RangeVar" in node:
            a.relation(node["RangeVar"], "dcl")
        else:
            _object(a, "dcl", kind, node)
    if not objects:
        a.pair("dcl")
    return _finished(a, "GRANT" if fields.get("is_grant") else "REVOKE")


def _role(tag: str) -> Callable[[Analysis, Node], StatementFacts]:
    def statement(a: Analysis, fields: Node) -> StatementFacts:
        named = fields.get("role", "")
        a.pair("dcl", named.get("rolename", "") if isinstance(named, dict) else named)
        return _finished(a, tag)

    return statement


KINDS: dict[str, Callable[[Analysis, Node], StatementFacts]] = {
    "CreateStmt": _create_table,
    "CreateForeignTableStmt": _create_table,
    "AlterTableStmt": _alter_table,
    "IndexStmt": _on_relation("CREATE INDEX", inside=True),
    "CreateTrigStmt": _on_relation("CREATE TRIGGER"),
    "RuleStmt": _on_relation("CREATE RULE"),
    "CreatePolicyStmt": _on_relation("CREATE POLICY"),
    "AlterPolicyStmt": _on_relation("ALTER POLICY"),
    "ViewStmt": _create_view,
    "CreateSeqStmt": _sequence,
    "AlterSeqStmt": _alter_sequence,
    "CreateSchemaStmt": _create_schema,
    "DropStmt": _drop,
    "RenameStmt": _moved("ALTER … RENAME"),
    "AlterObjectSchemaStmt": _moved("ALTER … SET SCHEMA"),
    "AlterObjectDependsStmt": _moved("ALTER … DEPENDS"),
    "AlterOwnerStmt": _moved("ALTER … OWNER", "dcl"),
    "CommentStmt": _comment,
    "CreateFunctionStmt": _made("CREATE FUNCTION", "funcname"),
    "AlterFunctionStmt": _made("ALTER FUNCTION", "func"),
    "DefineStmt": _made("CREATE", "defnames"),
    "CreateDomainStmt": _made("CREATE DOMAIN", "domainname"),
    "AlterDomainStmt": _made("ALTER DOMAIN", "typeName"),
    "CreateEnumStmt": _made("CREATE TYPE", "typeName"),
    "AlterEnumStmt": _made("ALTER TYPE", "typeName"),
    "CreateRangeStmt": _made("CREATE TYPE", "typeName"),
    "CompositeTypeStmt": _plain("ddl", "CREATE TYPE", code=True),
    "AlterTypeStmt": _made("ALTER TYPE", "typeName"),
    "AlterOperatorStmt": _plain("ddl", "ALTER OPERATOR", code=True),
    "CreateStatsStmt": _made("CREATE STATISTICS", "defnames", code=False),
    "AlterStatsStmt": _made("ALTER STATISTICS", "defnames", code=False),
    "CreateCastStmt": _plain("ddl", "CREATE CAST", code=True),
    "CreateOpClassStmt": _plain("ddl", "CREATE OPERATOR CLASS", code=True),
    "CreateOpFamilyStmt": _plain("ddl", "CREATE OPERATOR FAMILY", code=True),
    "AlterOpFamilyStmt": _plain("ddl", "ALTER OPERATOR FAMILY", code=True),
    "CreateTransformStmt": _plain("ddl", "CREATE TRANSFORM", code=True),
    "CreateConversionStmt": _plain("ddl", "CREATE CONVERSION", code=True),
    "AlterTSDictionaryStmt": _plain("ddl", "ALTER TEXT SEARCH DICTIONARY"),
    "AlterTSConfigurationStmt": _plain("ddl", "ALTER TEXT SEARCH CONFIGURATION"),
    "AlterCollationStmt": _plain("ddl", "ALTER COLLATION"),
    "GrantStmt": _grant,
    "GrantRoleStmt": _plain("dcl", "GRANT ROLE"),
    "AlterDefaultPrivilegesStmt": _plain("dcl", "ALTER DEFAULT PRIVILEGES"),
    "CreateRoleStmt": _role("CREATE ROLE"),
    "AlterRoleStmt": _role("ALTER ROLE"),
    "AlterRoleSetStmt": _role("ALTER ROLE"),
    "DropRoleStmt": _plain("dcl", "DROP ROLE"),
    "DropOwnedStmt": _plain("dcl", "DROP OWNED"),
    "ReassignOwnedStmt": _plain("dcl", "REASSIGN OWNED"),
    "SecLabelStmt": _plain("dcl", "SECURITY LABEL"),
    "CreateExtensionStmt": _plain("admin", "CREATE EXTENSION", "extname", code=True),
    "AlterExtensionStmt": _plain("admin", "ALTER EXTENSION", "extname", code=True),
    "AlterExtensionContentsStmt": _plain("admin", "ALTER EXTENSION", "extname", code=True),
    "CreateFdwStmt": _plain("admin", "CREATE FOREIGN DATA WRAPPER", "fdwname"),
    "AlterFdwStmt": _plain("admin", "ALTER FOREIGN DATA WRAPPER", "fdwname"),
    "CreateForeignServerStmt": _plain("admin", "CREATE SERVER", "servername"),
    "AlterForeignServerStmt": _plain("admin", "ALTER SERVER", "servername"),
    "CreateUserMappingStmt": _plain("admin", "CREATE USER MAPPING", "servername"),
    "AlterUserMappingStmt": _plain("admin", "ALTER USER MAPPING", "servername"),
    "DropUserMappingStmt": _plain("admin", "DROP USER MAPPING", "servername"),
    "ImportForeignSchemaStmt": _plain("admin", "IMPORT FOREIGN SCHEMA", "local_schema"),
    "CreateTableSpaceStmt": _plain("admin", "CREATE TABLESPACE", "tablespacename"),
    "AlterTableSpaceOptionsStmt": _plain("admin", "ALTER TABLESPACE", "tablespacename"),
    "AlterTableMoveAllStmt": _plain("admin", "ALTER TABLE ALL", "orig_tablespacename"),
    "DropTableSpaceStmt": _plain("admin", "DROP TABLESPACE", "tablespacename"),
    "CreatedbStmt": _plain("admin", "CREATE DATABASE", "dbname"),
    "DropdbStmt": _plain("admin", "DROP DATABASE", "dbname"),
    "AlterDatabaseStmt": _plain("admin", "ALTER DATABASE", "dbname"),
    "AlterDatabaseSetStmt": _plain("admin", "ALTER DATABASE", "dbname"),
    "AlterDatabaseRefreshCollStmt": _plain("admin", "ALTER DATABASE", "dbname"),
    "AlterSystemStmt": _plain("admin", "ALTER SYSTEM"),
    "LoadStmt": _plain("admin", "LOAD", "filename"),
    "CreatePLangStmt": _plain("admin", "CREATE LANGUAGE", "plname", code=True),
    "CreateEventTrigStmt": _plain("admin", "CREATE EVENT TRIGGER", "trigname"),
    "AlterEventTrigStmt": _plain("admin", "ALTER EVENT TRIGGER", "trigname"),
    "CreateAmStmt": _plain("admin", "CREATE ACCESS METHOD", "amname"),
    "CreatePublicationStmt": _plain("admin", "CREATE PUBLICATION", "pubname"),
    "AlterPublicationStmt": _plain("admin", "ALTER PUBLICATION", "pubname"),
    "CreateSubscriptionStmt": _plain("admin", "CREATE SUBSCRIPTION", "subname"),
    "AlterSubscriptionStmt": _plain("admin", "ALTER SUBSCRIPTION", "subname"),
    "DropSubscriptionStmt": _plain("admin", "DROP SUBSCRIPTION", "subname"),
}
