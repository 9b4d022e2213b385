"""DDL: which objects a statement defines, changes or drops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from taskgate.sql import administration, expressions, modifications, queries
from taskgate.sql.analysis import Analysis, strings
from taskgate.sql.facts import StatementFacts
from taskgate.sql.named_objects import CODE, RELATIONS, effect_on, finished, named_object, plain
from taskgate.sql.names import RelationCreated, RelationDropped, SessionRelation
from taskgate.sql.scope import NO_SOURCES, Item, Range, Scope, Shape, Value

Node = dict[str, Any]


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
    return finished(a, "CREATE TABLE")


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
    return finished(a, "ALTER TABLE", code=fields.get("objtype") == "OBJECT_TYPE", renamed=renames)


def _on_relation(tag: str, *, inside: bool = False) -> Callable[[Analysis, Node], StatementFacts]:
    """Statements that change something about one relation."""

    def statement(a: Analysis, fields: Node) -> StatementFacts:
        found = _existing(a, fields.get("relation") or fields["table"], "ddl")
        if inside:
            rest = {key: entry for key, entry in fields.items() if key != "relation"}
            _inside(a, rest, found.shape, found.name)
        return finished(a, tag)

    return statement


def _create_view(a: Analysis, fields: Node) -> StatementFacts:
    result = queries.query(a, fields["query"], None)
    into = {"rel": fields["view"], "colNames": fields.get("aliases", [])}
    modifications.into(a, into, result)
    return finished(a, "CREATE VIEW", renamed=bool(fields.get("replace")))


def _sequence(a: Analysis, fields: Node) -> StatementFacts:
    if "ownerId" in fields or fields.get("for_identity"):
        a.unknown("CREATE SEQUENCE")
    schema, name = a.creation_name(fields["sequence"])
    a.pair("ddl", f"{schema}.{name}", resolved=bool(schema))
    a.name_changes.append(RelationCreated(SessionRelation(schema, name, None)))
    return finished(a, "CREATE SEQUENCE")


def _alter_sequence(a: Analysis, fields: Node) -> StatementFacts:
    _existing(a, fields["sequence"], "ddl")
    return finished(a, "ALTER SEQUENCE")


def _create_schema(a: Analysis, fields: Node) -> StatementFacts:
    from taskgate.sql.statements import statement

    name = fields.get("schemaname", "")
    a.pair("ddl", name)
    for element in fields.get("schemaElts", ()):
        inner = statement(a.child(), element)
        a.include(inner)
    return finished(a, "CREATE SCHEMA", code=True)


# --- anything by kind ---


def _drop(a: Analysis, fields: Node) -> StatementFacts:
    kind = fields.get("removeType", "")
    for node in fields.get("objects", ()):
        named_object(a, effect_on(kind), kind, node, if_exists=bool(fields.get("missing_ok")))
        if kind in RELATIONS and "List" in node:
            parts = strings(node["List"]["items"])
            a.name_changes.append(RelationDropped(parts[-2] if len(parts) > 1 else None, parts[-1]))
    return finished(a, f"DROP {kind.removeprefix('OBJECT_').replace('_', ' ')}", code=kind in CODE)


def _moved(tag: str, effect: str | None = None) -> Callable[[Analysis, Node], StatementFacts]:
    """RENAME, SET SCHEMA, OWNER TO: by relation or by object."""

    def statement(a: Analysis, fields: Node) -> StatementFacts:
        kind = fields.get("renameType") or fields.get("objectType") or ""
        if "relation" in fields:
            _existing(a, fields["relation"], effect or "ddl")
        else:
            named_object(a, effect or effect_on(kind), kind, fields.get("object", {}))
        return finished(a, tag, code=kind in CODE, renamed=effect is None)

    return statement


def _comment(a: Analysis, fields: Node) -> StatementFacts:
    kind = fields.get("objtype", "")
    named_object(a, effect_on(kind), kind, fields.get("object", {}))
    return finished(a, "COMMENT")


def _made(tag: str, key: str, *, code: bool = True) -> Callable[[Analysis, Node], StatementFacts]:
    """CREATE or ALTER of something named by `key`: a list of strings or an ObjectWithArgs."""

    def statement(a: Analysis, fields: Node) -> StatementFacts:
        named = fields.get(key, [])
        parts = strings(named.get("objname", ()) if isinstance(named, dict) else named)
        if len(parts) == 1:
            schema = a.creation_name({"relname": parts[0]})[0]
            parts = [schema, *parts] if schema else parts
        a.pair("ddl", ".".join(parts) or tag.lower(), resolved=len(parts) != 1)
        return finished(a, tag, code=code)

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
    "CompositeTypeStmt": plain("ddl", "CREATE TYPE", code=True),
    "AlterTypeStmt": _made("ALTER TYPE", "typeName"),
    "AlterOperatorStmt": plain("ddl", "ALTER OPERATOR", code=True),
    "CreateStatsStmt": _made("CREATE STATISTICS", "defnames", code=False),
    "AlterStatsStmt": _made("ALTER STATISTICS", "defnames", code=False),
    "CreateCastStmt": plain("ddl", "CREATE CAST", code=True),
    "CreateOpClassStmt": plain("ddl", "CREATE OPERATOR CLASS", code=True),
    "CreateOpFamilyStmt": plain("ddl", "CREATE OPERATOR FAMILY", code=True),
    "AlterOpFamilyStmt": plain("ddl", "ALTER OPERATOR FAMILY", code=True),
    "CreateTransformStmt": plain("ddl", "CREATE TRANSFORM", code=True),
    "CreateConversionStmt": plain("ddl", "CREATE CONVERSION", code=True),
    "AlterTSDictionaryStmt": plain("ddl", "ALTER TEXT SEARCH DICTIONARY"),
    "AlterTSConfigurationStmt": plain("ddl", "ALTER TEXT SEARCH CONFIGURATION"),
    "AlterCollationStmt": plain("ddl", "ALTER COLLATION"),
    **administration.KINDS,
}
